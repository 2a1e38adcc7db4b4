import { KIB } from '../../units.js';
import { VOID } from '../rpc-value.js';
import { method, type MethodTable } from '../rpc/method.js';
import { float, text } from '../rpc/parameters.js';

/** Of each text: everybody may make tasks, and they are in memory, in the journal and in events. */
const MAX_TASK_CHARACTERS = 4 * KIB;

/** Everybody may make tasks, and end his own. */
export const taskMethods: MethodTable = {
  'task.create': method({
    role: 'read-only',
    parameters: [text('label', MAX_TASK_CHARACTERS), text('description', MAX_TASK_CHARACTERS)],
    run: async ({ pool, owners, session }, [label, description]) => {
      owners.requireRoom(session.account);
      const task = await pool.tasks.create(label, description);
      owners.add(task, session.account);
      return task;
    },
  }),
  'task.cancel': method({
    role: 'read-only',
    parameters: [text('task')],
    run: async ({ pool, owners, session }, [task]) => {
      owners.require(session.account, task, 'task.cancel');
      await pool.tasks.cancel(task);
      return VOID;
    },
  }),
  'task.destroy': method({
    role: 'read-only',
    parameters: [text('self')],
    run: async ({ pool, owners, session }, [self]) => {
      owners.require(session.account, self, 'task.destroy');
      await pool.tasks.destroy(self);
      return VOID;
    },
  }),
  'task.set_progress': method({
    role: 'read-only',
    parameters: [text('self'), float('value')],
    run: ({ pool, owners, session }, [self, value]) => {
      owners.require(session.account, self, 'task.set_progress');
      pool.tasks.progress(self, value);
      return VOID;
    },
  }),
};
