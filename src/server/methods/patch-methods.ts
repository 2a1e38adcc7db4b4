import { VOID } from '../rpc-value.js';
import { method, type MethodTable } from '../rpc/method.js';
import { text } from '../rpc/parameters.js';

const onHost = (call: 'precheck' | 'apply'): MethodTable[string] =>
  method({
    role: 'pool-operator',
    parameters: [text('self'), text('host')],
    run: ({ pool, task, signal }, [self, host]) => pool.applies[call](self, host, { task, signal }),
  });

/** `pool_patch`: "pool_patch.clean" and its kin are deprecated; the pool says so to its log. */
export const patchMethods: MethodTable = {
  'pool_patch.precheck': onHost('precheck'),
  'pool_patch.apply': onHost('apply'),
  'pool_patch.pool_apply': method({
    role: 'pool-operator',
    parameters: [text('self')],
    run: async ({ pool, task, signal }, [self]) => {
      await pool.applies.poolApply(self, { task, signal });
      return VOID;
    },
  }),
  'pool_patch.clean': method({
    role: 'pool-operator',
    parameters: [text('self')],
    run: async ({ pool }, [self]) => {
      await pool.patches.clean(self);
      return VOID;
    },
  }),
  'pool_patch.clean_on_host': method({
    role: 'pool-operator',
    parameters: [text('self'), text('host')],
    run: async ({ pool }, [self, host]) => {
      await pool.patches.cleanOnHost(self, host);
      return VOID;
    },
  }),
  'pool_patch.pool_clean': method({
    role: 'pool-operator',
    parameters: [text('self')],
    run: async ({ pool }, [self]) => {
      await pool.patches.poolClean(self);
      return VOID;
    },
  }),
  'pool_patch.destroy': method({
    role: 'pool-operator',
    parameters: [text('self')],
    run: async ({ pool }, [self]) => {
      await pool.patches.destroy(self);
      return VOID;
    },
  }),
};
