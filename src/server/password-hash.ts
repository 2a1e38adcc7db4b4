import { randomBytes, scrypt, timingSafeEqual, type ScryptOptions } from 'node:crypto';
import { PatchVdiError } from '../errors.js';
import { PoolError } from '../pool/pool-error.js';
import { MIB } from '../units.js';

/*
 * Passwords as scrypt hashes (RFC 7914) in the PHC string format: `$scrypt$ln=15,r=8,p=1$SALT$HASH`, salt and hash in
 * base64 without `=`. Others write the same form (passlib, for one).
 */

/** N = 2^ln. */
interface Cost {
  readonly ln: number;
  readonly r: number;
  readonly p: number;
}

interface ParsedHash extends Cost {
  readonly salt: Buffer;
  readonly hash: Buffer;
}

/** 32 MiB and some 60 ms: two at a time are little of the server's memory. */
const COST: Cost = { ln: 15, r: 8, p: 1 };
const SALT_BYTES = 16;
const HASH_BYTES = 32;

/** What a hash may ask for: twice our own memory, eight times our own work. */
const MAX_MEMORY_BYTES = 64 * MIB;
const MAX_WORK = 8 * 2 ** COST.ln * COST.r * COST.p;
/** Below that a hash protects nothing. */
const MIN_LN = 12;

/** In UTF-8; more is no password, but work. */
const MAX_PASSWORD_BYTES = 1024;

const FORM =
  /^\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{22,86})$/;

function memoryBytes({ ln, r }: Cost): number {
  return 128 * 2 ** ln * r;
}

function parseHash(text: string): ParsedHash | undefined {
  if (text.length > 256) return undefined;
  const match = FORM.exec(text);
  if (match === null) return undefined;
  const [ln = 0, r = 0, p = 0] = match.slice(1, 4).map(Number);
  const cost = { ln, r, p };
  if (ln < MIN_LN || r < 1 || p < 1 || memoryBytes(cost) > MAX_MEMORY_BYTES) return undefined;
  if (2 ** ln * r * p > MAX_WORK) return undefined;
  const [salt, hash] = match.slice(4, 6).map((base64) => Buffer.from(base64, 'base64'));
  if (salt === undefined || hash === undefined) return undefined;
  // One way to write each value: bits that mean nothing are zeros.
  const isCanonical = base64Of(salt) === match[4] && base64Of(hash) === match[5];
  return isCanonical ? { ...cost, salt, hash } : undefined;
}

/** Whether it is a hash that {@link verifyPassword} takes: of that form, neither too weak nor too costly. */
export function isPasswordHash(text: string): boolean {
  return parseHash(text) !== undefined;
}

function base64Of(bytes: Buffer): string {
  return bytes.toString('base64').replaceAll('=', '');
}

/**
 * The same password whatever keyboard it was typed on (RFC 8265, 4.2.2: NFC), undefined when none can be so.
 * Looked at before it becomes bytes: a client may send much.
 */
function passwordBytes(password: string): Buffer | undefined {
  if (password === '' || password.length > MAX_PASSWORD_BYTES) return undefined;
  const bytes = Buffer.from(password.normalize('NFC'));
  return bytes.length > MAX_PASSWORD_BYTES ? undefined : bytes;
}

/** At once in this process: each takes up to 64 MiB, and one of libuv's four threads. */
const AT_ONCE = 2;
/** Some ten seconds of work. */
const MAX_WAITING = 256;

let running = 0;
const waiting: (() => void)[] = [];

async function inTurn<Value>(work: () => Promise<Value>): Promise<Value> {
  if (running >= AT_ONCE) {
    if (waiting.length >= MAX_WAITING) {
      throw new PoolError(
        'SESSION_AUTHENTICATION_FAILED',
        [],
        new Error('too many passwords to check at once'),
      );
    }
    // Whoever ends hands its place over: nobody overtakes.
    await new Promise<void>((resolve) => void waiting.push(resolve));
  } else running += 1;
  try {
    return await work();
  } finally {
    const next = waiting.shift();
    if (next === undefined) running -= 1;
    else next();
  }
}

function derive(password: Buffer, salt: Buffer, lengthBytes: number, cost: Cost): Promise<Buffer> {
  const options: ScryptOptions = {
    N: 2 ** cost.ln,
    r: cost.r,
    p: cost.p,
    // OpenSSL counts a little more than the table.
    maxmem: memoryBytes(cost) + 128 * cost.r * (cost.p + 2) + MIB,
  };
  return new Promise((resolve, reject) => {
    scrypt(password, salt, lengthBytes, options, (error, key) => {
      if (error === null) resolve(key);
      else reject(error);
    });
  });
}

/**
 * A new hash of a password, with a salt of its own.
 *
 * @throws PatchVdiError `usage` for an empty password, or one of more than 1024 bytes; PoolError
 *   SESSION_AUTHENTICATION_FAILED when too many wait
 */
export async function hashPassword(password: string): Promise<string> {
  const bytes = passwordBytes(password);
  if (bytes === undefined) {
    throw new PatchVdiError('usage', 'that is no password', {
      context: {
        found: password === '' ? 'nothing' : 'a longer text',
        expected: `1 to ${MAX_PASSWORD_BYTES} bytes`,
      },
    });
  }
  const salt = randomBytes(SALT_BYTES);
  const hash = await inTurn(() => derive(bytes, salt, HASH_BYTES, COST));
  const { ln, r, p } = COST;
  return `$scrypt$ln=${ln},r=${r},p=${p}$${base64Of(salt)}$${base64Of(hash)}`;
}

/**
 * Whether a password belongs to a hash. It takes as long for one that does not, and for one that is too long.
 *
 * @param hash as {@link isPasswordHash} has it
 * @throws PatchVdiError `usage` for any other hash; PoolError SESSION_AUTHENTICATION_FAILED when too many wait
 */
export async function verifyPassword(password: string, hash: string): Promise<boolean> {
  const parsed = parseHash(hash);
  if (parsed === undefined) {
    throw new PatchVdiError('usage', 'that is no password hash that can be checked', {
      context: { expected: '$scrypt$ln=15,r=8,p=1$SALT$HASH, ln from 12 and at most 64 MiB' },
    });
  }
  const bytes = passwordBytes(password);
  const derived = await inTurn(() =>
    derive(bytes ?? Buffer.alloc(1), parsed.salt, parsed.hash.length, parsed),
  );
  return timingSafeEqual(derived, parsed.hash) && bytes !== undefined;
}
