import { PoolError } from '../../pool/pool-error.js';
import { KIB } from '../../units.js';
import type { Role } from '../account.js';
import { VOID } from '../rpc-value.js';
import { method, type Call, type MethodTable } from '../rpc/method.js';
import { text, textMap } from '../rpc/parameters.js';

type Named = 'VDI' | 'SR' | 'pool' | 'host';
type Configured = Named | 'pool_patch' | 'task';

/** Whose names can be changed (a patch has the one that is signed), and by whom. */
const NAMED: Readonly<Record<Named, Role>> = {
  VDI: 'vm-admin',
  SR: 'pool-operator',
  pool: 'pool-operator',
  host: 'pool-operator',
};

/** The same of `other_config`. Of a task it is its owner's, who may be anybody. */
const CONFIGURED: Readonly<Record<Configured, Role>> = {
  ...NAMED,
  pool_patch: 'pool-operator',
  task: 'read-only',
};

/** Of a whole `other_config`: it is in memory, in the journal and in every event of its record. */
const MAX_CONFIG_CHARACTERS = 256 * KIB;

/** The same of a task: everybody may have hundreds of them. */
const MAX_TASK_CONFIG_CHARACTERS = 16 * KIB;

const NAME_FIELDS = ['name_label', 'name_description'] as const;

function nameSetters(name: Named): MethodTable {
  const rows = NAME_FIELDS.map((field) => [
    `${name}.set_${field}`,
    method({
      role: NAMED[name],
      parameters: [text('self'), text('value')],
      run: async ({ pool }, [self, value]) => {
        await pool.database.change((draft) => draft.update(name, self, { [field]: value }));
        return VOID;
      },
    }),
  ]);
  return Object.fromEntries(rows) as MethodTable;
}

type Entries = Readonly<Record<string, string>>;

async function changeConfig(
  { pool, owners, session }: Call,
  name: Configured,
  self: string,
  change: (config: Entries, uuid: string) => Entries,
): Promise<string> {
  if (name === 'task') owners.require(session.account, self, 'task.other_config');
  await pool.database.change((draft) => {
    const { other_config, uuid } = draft.get(name, self);
    const changed = change(other_config, uuid);
    const length = JSON.stringify(changed).length;
    const most = name === 'task' ? MAX_TASK_CONFIG_CHARACTERS : MAX_CONFIG_CHARACTERS;
    if (length > most) {
      const reason = `${most} characters at most`;
      throw new PoolError('VALUE_NOT_SUPPORTED', ['other_config', String(length), reason]);
    }
    draft.update(name, self, { other_config: changed });
  });
  return VOID;
}

function configSetters(name: Configured): MethodTable {
  const role = CONFIGURED[name];
  return {
    [`${name}.set_other_config`]: method({
      role,
      parameters: [text('self'), textMap('value')],
      run: (call, [self, value]) => changeConfig(call, name, self, () => value),
    }),
    [`${name}.add_to_other_config`]: method({
      role,
      parameters: [text('self'), text('key'), text('value')],
      run: (call, [self, key, value]) =>
        changeConfig(call, name, self, (config, uuid) => {
          const clash = ['MAP_DUPLICATE_KEY', [name, 'other_config', uuid, key]] as const;
          if (Object.hasOwn(config, key)) throw new PoolError(...clash);
          return Object.fromEntries([...Object.entries(config), [key, value]]);
        }),
    }),
    [`${name}.remove_from_other_config`]: method({
      role,
      parameters: [text('self'), text('key')],
      run: (call, [self, key]) =>
        changeConfig(call, name, self, (config) =>
          Object.fromEntries(Object.entries(config).filter(([known]) => known !== key)),
        ),
    }),
  };
}

/** Names and `other_config`. */
export function setters(): MethodTable {
  const named = Object.keys(NAMED) as Named[];
  const configured = Object.keys(CONFIGURED) as Configured[];
  return Object.assign({}, ...named.map(nameSetters), ...configured.map(configSetters)) as MethodTable;
}
