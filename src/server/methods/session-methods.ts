import { NULL_REF, datetimeText } from '../../pool/fields.js';
import { PoolError } from '../../pool/pool-error.js';
import { DateTime, VOID, type RpcStruct, type RpcValue } from '../rpc-value.js';
import { method, type Call, type Method, type MethodTable } from '../rpc/method.js';
import { text } from '../rpc/parameters.js';

/** What a client may know of its own session, with XAPI's names. */
function sessionRecord({ session, pool }: Call): RpcStruct {
  return {
    uuid: session.uuid,
    this_host: pool.host,
    this_user: NULL_REF,
    last_active: new DateTime(datetimeText(session.lastActiveAt)),
    validation_time: new DateTime(datetimeText(session.createdAt)),
    pool: false,
    is_local_superuser: session.account.role === 'pool-admin',
    subject: NULL_REF,
    auth_user_sid: '',
    auth_user_name: session.account.name,
    originator: session.originator,
    other_config: {},
  };
}

/** Of another session nothing is told, not even that there is one. */
const ownOnly = (read: (call: Call) => RpcValue): Method =>
  method({
    role: 'read-only',
    parameters: [text('self')],
    run: (call, [self]) => {
      if (self !== call.session.ref) throw new PoolError('HANDLE_INVALID', ['session', '']);
      return read(call);
    },
  });

const FIELDS = [
  'uuid',
  'this_host',
  'this_user',
  'last_active',
  'validation_time',
  'pool',
  'is_local_superuser',
  'subject',
  'auth_user_sid',
  'auth_user_name',
  'originator',
  'other_config',
] as const;

export const sessionMethods: MethodTable = {
  'session.logout': method({
    role: 'read-only',
    parameters: [],
    run: ({ session, endSession }) => {
      endSession(session.ref);
      return VOID;
    },
  }),
  'session.get_record': ownOnly(sessionRecord),
  ...Object.fromEntries(
    FIELDS.map((field) => [`session.get_${field}`, ownOnly((call) => sessionRecord(call)[field] ?? VOID)]),
  ),
};
