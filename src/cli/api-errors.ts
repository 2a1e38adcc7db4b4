/*
 * Every error of the XenAPI that a server may answer with: one table, best read as a whole.
 */
import { DEFAULT_LEFT_BEHIND, PatchVdiError, isPatchVdiError, type ErrorKind } from '../errors.js';
import { printable } from '../signature/printable.js';
import { isXenApiError, type XenApiError } from '../xenapi/xen-api-error.js';

export interface ErrorScene {
  /** `https://host:8443`. */
  readonly server: string;
  readonly user: string;
}

interface Translation {
  readonly kind: ErrorKind;
  readonly message: string;
  readonly hint?: string;
  /** Default: nothing was changed on the server. */
  readonly leftBehind?: string;
}

type Translate = (parameters: readonly string[], scene: ErrorScene) => Translation;

const PARAMETER_CHARACTERS = 400;
const MAX_FOUND_PARAMETERS = 6;

const LOG = "the server's log says more";
const LIST = 'it may be gone since: list again what is there';
const PRECHECK = 'nothing was applied';

const word = (parameters: readonly string[], index: number, otherwise: string): string =>
  printable(parameters[index] ?? otherwise, PARAMETER_CHARACTERS);

/** A patch that says itself why it cannot be applied. */
const precheck =
  (message: string, hint: string): Translate =>
  () => ({ kind: 'sink', message: `the patch cannot be applied: ${message}`, hint, leftBehind: PRECHECK });

function wrongPassword(user: string): { readonly message: string; readonly hint: string } {
  return {
    message: `the server does not let ${printable(user, 60)} in: name or password is wrong`,
    hint: 'check --user and the password (--password-file, PATCH_VDI_PASSWORD)',
  };
}

const TABLE: Readonly<Record<string, Translate>> = {
  CANNOT_FETCH_PATCH: () => ({
    kind: 'sink',
    message: 'the bytes of the patch could not be fetched',
    hint: `upload the patch again; ${LOG}`,
  }),
  CANNOT_FIND_PATCH: () => ({
    kind: 'sink',
    message: 'the server has no bytes of that patch',
    hint: 'its file was cleaned, and it has no VDI: upload the patch again',
  }),
  FIELD_TYPE_ERROR: ([field]) => ({
    kind: 'sink',
    message: `the server takes another type of value${field === undefined ? '' : ` as ${printable(field, 60)}`}`,
    hint: 'it may be of another version',
  }),
  HANDLE_INVALID: (parameters) => ({
    kind: 'usage',
    message: `the server has no such ${word(parameters, 0, 'object')}`,
    hint: LIST,
  }),
  HOST_HAS_NO_PATCH_SR: () => ({
    kind: 'sink',
    message: 'the pool has no storage repository for patches',
    hint: "set the pool's default SR, attach one that can clone VDIs to the master, or name one with --sr",
  }),
  HOST_IS_SLAVE: (parameters) => ({
    kind: 'sink',
    message: 'the server is a slave of the pool',
    hint: `ask its master: --url https://${word(parameters, 0, 'MASTER')}`,
  }),
  HOST_OFFLINE: () => ({
    kind: 'sink',
    message: 'the host cannot be reached by its master',
    hint: 'start its server, and see whether master and host reach each other',
  }),
  INTERNAL_ERROR: () => ({
    kind: 'sink',
    message: 'something went wrong inside the server',
    hint: `${LOG}; run it again when the cause is gone`,
  }),
  INVALID_PATCH: () => ({
    kind: 'signature',
    message: 'the server does not accept the patch: its signature does not hold, or it is no signed message',
    hint: 'only signed messages by a key of the pool are taken; patch-vdi build FILE --keyring KEYS --format vhd -o - > /dev/null, with the keyring of the server, says what is wrong',
    leftBehind: 'no patch and no VDI: the server has removed what came',
  }),
  INVALID_PATCH_WITH_LOG: () => ({
    kind: 'upload',
    message: 'the patch is signed, but it is none: it does not say what it is',
    hint: 'what it has printed is above; it must print an info document when it is run with "info"',
    leftBehind: 'no patch and no VDI: the server has removed what came',
  }),
  MAP_DUPLICATE_KEY: () => ({
    kind: 'sink',
    message: 'that key is there already',
    hint: 'somebody else has written it meanwhile: look again, then run it again',
  }),
  MESSAGE_DEPRECATED: () => ({
    kind: 'sink',
    message: 'the server does not offer that any more',
    hint: 'it is a newer XenServer or XCP-ng, which applies its own updates: patch-vdi upload stores a patch there as a VDI',
  }),
  MESSAGE_METHOD_UNKNOWN: (parameters) => ({
    kind: 'sink',
    message: `the server does not know the call ${word(parameters, 0, 'that was made')}`,
    hint: 'it is of another version, or a XenServer, which knows nothing of patches in VDIs',
  }),
  MESSAGE_PARAMETER_COUNT_MISMATCH: (parameters) => ({
    kind: 'sink',
    message: `the server takes other parameters for ${word(parameters, 0, 'that call')}`,
    hint: 'it is of another version',
  }),
  OPERATION_NOT_ALLOWED: () => ({
    kind: 'sink',
    message: 'the server does not allow that',
    hint: 'what stands in the way is above; a patch that may have run in part is applied once more with --again',
  }),
  OTHER_OPERATION_IN_PROGRESS: (parameters) => ({
    kind: 'sink',
    message: `something else is being done with that ${word(parameters, 0, 'object')}`,
    hint: 'patch-vdi pool tasks lists what is under way; wait for it, or cancel it',
  }),
  OUT_OF_SPACE: (parameters) => ({
    kind: 'space',
    message: `there is not enough space on the server: ${word(parameters, 0, 'it does not say where')}`,
    hint: 'a patch needs a VDI of four times its size: see patch-vdi pool srs, remove old VDIs, or choose another one with --sr',
  }),
  PATCH_ALREADY_APPLIED: () => ({
    kind: 'sink',
    message: 'that host has the patch already',
    hint: 'nothing needs to be done; patch-vdi pool patches lists which hosts have it',
  }),
  PATCH_ALREADY_EXISTS: () => ({
    kind: 'sink',
    message: 'the pool has that patch already',
    hint: 'patch-vdi pool patches lists it; patch-vdi pool destroy removes it, if it is to be uploaded again',
  }),
  PATCH_APPLY_FAILED: () => ({
    kind: 'tool',
    message: 'the patch failed while it was being applied',
    hint: 'what it has printed is above',
    leftBehind: 'whatever the patch has done to the host until then',
  }),
  PATCH_IS_APPLIED: () => ({
    kind: 'sink',
    message: 'the patch is applied to a host, which keeps its record',
    hint: 'to free its space, destroy its VDI: patch-vdi pool vdi-destroy',
  }),
  PATCH_PRECHECK_FAILED_ISO_MOUNTED: precheck('an ISO is mounted', 'eject it'),
  PATCH_PRECHECK_FAILED_OUT_OF_SPACE: precheck(
    'the host has not enough space',
    'free some space on the host',
  ),
  PATCH_PRECHECK_FAILED_PREREQUISITE_MISSING: precheck(
    'it needs other patches first',
    'apply the ones whose uuids are above',
  ),
  PATCH_PRECHECK_FAILED_UNKNOWN_ERROR: precheck('it does not say why', LOG),
  PATCH_PRECHECK_FAILED_VM_RUNNING: precheck('VMs are running on the host', 'move them, or shut them down'),
  PATCH_PRECHECK_FAILED_WRONG_SERVER_BUILD: precheck(
    'it is for another build of the host',
    'take the right one',
  ),
  PATCH_PRECHECK_FAILED_WRONG_SERVER_VERSION: precheck(
    'it is for another version of the host',
    'take the right one',
  ),
  RBAC_PERMISSION_DENIED: (parameters, { user }) => ({
    kind: 'sink',
    message: `${printable(user, 60)} may not do that: ${word(parameters, 0, 'it needs another role')}`,
    hint: 'log in as somebody with that role (--user)',
  }),
  SESSION_AUTHENTICATION_FAILED: (parameters, { user }) => ({
    kind: 'sink',
    ...(parameters.some((words) => words.startsWith('too many wrong passwords'))
      ? {
          message: 'the server does not look at passwords from this address for now: too many were wrong',
          hint: 'wait a minute; see whether some program here tries again and again',
        }
      : wrongPassword(user)),
  }),
  SESSION_INVALID: () => ({
    kind: 'sink',
    message: 'the session has ended',
    hint: 'somebody has logged it out, or the server was restarted: run the command again',
    leftBehind: 'what the server had done until then',
  }),
  /** Of a server of ours whose storage is that of a real pool; XAPI puts a number behind it. */
  SR_BACKEND_FAILURE: (parameters) => ({
    kind: 'sink',
    message: `the storage behind that server failed: ${word(parameters, 1, 'it does not say why')}`,
    hint: LOG,
  }),
  SR_BACKEND_FAILURE_44: () => ({
    kind: 'space',
    message: 'the storage repository has not enough space',
    hint: 'see patch-vdi pool srs; remove VDIs that nobody needs, or choose another one with --sr',
  }),
  SR_FULL: () => ({
    kind: 'space',
    message: 'the storage repository is full',
    hint: 'see patch-vdi pool srs; remove VDIs that nobody needs, or choose another one with --sr',
  }),
  SR_HAS_NO_PBDS: () => ({
    kind: 'sink',
    message: 'the master cannot reach that storage repository',
    hint: 'mount it there, or start the server of its host; uploads go to an SR of the master, and pool vdi-copy from there',
  }),
  TASK_CANCELLED: () => ({
    kind: 'sink',
    message: 'somebody has cancelled the task on the server',
    hint: 'run the command again',
  }),
  UUID_INVALID: (parameters) => ({
    kind: 'usage',
    message: `the server has no ${word(parameters, 0, 'object')} of that uuid`,
    hint: LIST,
  }),
  VALUE_NOT_SUPPORTED: (parameters) => ({
    kind: 'usage',
    message: `the server does not take that value${parameters[0] === undefined ? '' : ` as ${word(parameters, 0, '')}`}`,
    hint: `it may be of another version; ${LOG}`,
  }),
  VDI_IN_USE: () => ({
    kind: 'sink',
    message: 'the VDI is in use',
    hint: 'detach it from the VM or host that has it',
  }),
  VDI_IO_ERROR: () => ({
    kind: 'sink',
    message: "the server's storage failed, or the bytes were no disk image",
    hint: LOG,
  }),
  VDI_MISSING: () => ({
    kind: 'sink',
    message: 'the disk of that VDI is gone from its storage repository',
    hint: 'destroy the VDI (patch-vdi pool vdi-destroy), and upload the patch again',
  }),
};

const UNKNOWN: Translate = () => ({
  kind: 'sink',
  message: 'the server refuses that',
  hint: LOG,
});

/** `CODE (parameter, parameter)`: what the server has said, word for word. */
function foundText({ code, parameters }: XenApiError): string {
  if (parameters.length === 0) return code;
  const shown = parameters
    .slice(0, MAX_FOUND_PARAMETERS)
    .map((text) => printable(text, PARAMETER_CHARACTERS));
  return `${code} (${shown.join(', ')}${parameters.length > shown.length ? ', …' : ''})`;
}

/**
 * What a server has refused as an error of ours; any other error as it is, but that nothing is known of files and
 * images here when somebody has stopped us.
 */
export function translateApiError(error: unknown, scene: ErrorScene): unknown {
  const toldNothing = isPatchVdiError(error) && error.leftBehind === DEFAULT_LEFT_BEHIND.interrupted;
  if (isPatchVdiError(error) && error.kind === 'interrupted' && toldNothing) {
    return new PatchVdiError('interrupted', error.message, {
      context: error.context,
      leftBehind: 'what the server had done until then; a task that was under way was told to end',
      cause: error,
    });
  }
  if (!isXenApiError(error)) return error;
  const translate = Object.hasOwn(TABLE, error.code) ? TABLE[error.code] : undefined;
  const { kind, message, hint, leftBehind } = (translate ?? UNKNOWN)(error.parameters, scene);
  return new PatchVdiError(kind, message, {
    context: { operation: error.operation, path: scene.server, found: foundText(error) },
    leftBehind: error.leftBehind ?? leftBehind ?? 'nothing was changed on the server',
    ...(hint === undefined ? {} : { hint }),
    cause: error,
  });
}

/** Whether an error says that the patch does not want to be applied there, as `patch-vdi apply` ends with 1 for. */
export function isPatchAnswer(error: unknown): error is PatchVdiError {
  if (!isPatchVdiError(error) || !isXenApiError(error.cause)) return false;
  const { code } = error.cause;
  return code === 'PATCH_ALREADY_APPLIED' || code.startsWith('PATCH_PRECHECK_FAILED_');
}

/** The codes that have words of their own. */
export const KNOWN_CODES: readonly string[] = Object.keys(TABLE);
