import { NULL_REF, datetimeText } from '../../pool/fields.js';
import { PoolError } from '../../pool/pool-error.js';
import { DateTime, VOID } from '../rpc-value.js';
import { method, type MethodTable } from '../rpc/method.js';
import { text } from '../rpc/parameters.js';

const refreshUsage = (role: 'vm-power-admin' | 'pool-operator') =>
  method({
    role,
    parameters: [text('sr')],
    run: async ({ pool }, [sr]) => {
      pool.database.get('SR', sr);
      await pool.repositories.refreshUsage(sr);
      return VOID;
    },
  });

/** Of the pool itself, its hosts and its storage repositories. */
export const poolMethods: MethodTable = {
  'pool.set_default_SR': method({
    role: 'pool-operator',
    parameters: [text('self'), text('value')],
    run: async ({ pool }, [self, sr]) => {
      await pool.database.change((draft) => {
        if (sr !== NULL_REF) draft.get('SR', sr);
        draft.update('pool', self, { default_SR: sr });
      });
      return VOID;
    },
  }),
  'pool.eject': method({
    role: 'pool-admin',
    parameters: [text('host')],
    run: async ({ pool, members }, [host]) => {
      const { uuid } = pool.database.get('host', host);
      if (members === undefined) {
        throw new PoolError('VALUE_NOT_SUPPORTED', ['host', uuid, 'the master cannot be ejected']);
      }
      await members.eject(host);
      return VOID;
    },
  }),
  'host.get_servertime': method({
    role: 'read-only',
    parameters: [text('host')],
    run: ({ pool, now }, [host]) => {
      pool.database.get('host', host);
      return new DateTime(datetimeText(now()));
    },
  }),
  'host.list_methods': method({
    role: 'read-only',
    parameters: [],
    run: ({ methodNames }) => methodNames(),
  }),
  'SR.scan': refreshUsage('vm-power-admin'),
  'SR.update': refreshUsage('pool-operator'),
};
