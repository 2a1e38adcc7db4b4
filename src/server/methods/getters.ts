import { CLASS_NAMES, fieldsOf, type ClassName } from '../../pool/classes.js';
import { PoolError } from '../../pool/pool-error.js';
import { method, type Method, type MethodTable } from '../rpc/method.js';
import { text } from '../rpc/parameters.js';
import type { RecordView } from '../rpc/record-view.js';

/** The one expression that is understood; clients that filter do it for themselves. */
const EVERYTHING = 'true';

function recordGetters(name: ClassName): readonly (readonly [string, Method])[] {
  return [
    ['get_all', method({ role: 'read-only', parameters: [], run: ({ pool }) => pool.database.getAll(name) })],
    [
      'get_all_records',
      method({ role: 'read-only', parameters: [], run: ({ view }) => view.allRecords(name) }),
    ],
    [
      'get_all_records_where',
      method({
        role: 'read-only',
        parameters: [text('expr')],
        run: ({ view }, [expression]) => {
          if (expression.trim() === EVERYTHING) return view.allRecords(name);
          throw new PoolError('VALUE_NOT_SUPPORTED', ['expr', expression, `only "${EVERYTHING}" is`]);
        },
      }),
    ],
    [
      'get_record',
      method({
        role: 'read-only',
        parameters: [text('self')],
        run: ({ view }, [self]) => view.record(name, self),
      }),
    ],
    [
      'get_by_uuid',
      method({
        role: 'read-only',
        parameters: [text('uuid')],
        run: ({ pool }, [uuid]) => pool.database.getByUuid(name, uuid),
      }),
    ],
  ];
}

const byNameLabel = (name: ClassName): Method =>
  method({
    role: 'read-only',
    parameters: [text('label')],
    run: ({ pool }, [label]) => pool.database.getByNameLabel(name, label),
  });

const fieldGetter = (name: ClassName, field: string): Method =>
  method({
    role: 'read-only',
    parameters: [text('self')],
    run: ({ view }, [self]) => {
      const value = view.record(name, self)[field];
      // Fields that only this host has are asked of another one.
      if (value === undefined) throw new PoolError('VALUE_NOT_SUPPORTED', [field, self, 'not known here']);
      return value;
    },
  });

/** What every class has: `get_all`, `get_record`, one getter a field, and so on. */
export function getters(view: RecordView): MethodTable {
  const rows = CLASS_NAMES.flatMap((name) =>
    [
      ...recordGetters(name),
      ...(Object.hasOwn(fieldsOf(name), 'name_label')
        ? [['get_by_name_label', byNameLabel(name)] as const]
        : []),
      ...view.fieldNames(name).map((field) => [`get_${field}`, fieldGetter(name, field)] as const),
    ].map(([suffix, getter]) => [`${name}.${suffix}`, getter] as const),
  );
  return Object.fromEntries(rows);
}
