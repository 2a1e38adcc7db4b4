import { expect, test } from 'vitest';
import { isPatchVdiError } from '../../src/errors.js';
import { isPoolError } from '../../src/pool/pool-error.js';
import { hashPassword, isPasswordHash, verifyPassword } from '../../src/server/password-hash.js';
import { requireTool } from '../oracles/require-tool.js';
import { cheapHash, pythonAccepts, pythonHash } from './scrypt-judge.js';

/** Another letter in the place of one. */
function spoilt(hash: string, position: number): string {
  const at = hash.length + position;
  return `${hash.slice(0, at)}${hash[at] === 'A' ? 'B' : 'A'}${hash.slice(at + 1)}`;
}

test.for(['secret', 'with space : and $', 'größer', '密码', 'x'.repeat(1024)])(
  'Python finds that our hash belongs to the password (%#)',
  async (password, context) => {
    requireTool(context, 'python3');
    const hash = await hashPassword(password);
    expect(hash).toMatch(/^\$scrypt\$ln=15,r=8,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/);
    expect(pythonAccepts(password, hash)).toBe(true);
    expect(pythonAccepts(`${password}x`, hash)).toBe(false);
    // In the middle of the key, and in the middle of the salt.
    expect(pythonAccepts(password, spoilt(hash, -20))).toBe(false);
    expect(pythonAccepts(password, spoilt(hash, -60))).toBe(false);
    expect(pythonAccepts(password, hash.replace('ln=15', 'ln=14'))).toBe(false);
  },
);

test.for([
  { ln: 12, r: 8, p: 1 },
  { ln: 15, r: 8, p: 1 },
  { ln: 16, r: 8, p: 1 },
  { ln: 13, r: 8, p: 4 },
  { ln: 14, r: 16, p: 2 },
])('we find that a hash of Python belongs to the password (%o)', async (cost, context) => {
  requireTool(context, 'python3');
  const hash = pythonHash('open sesame', cost);
  expect(isPasswordHash(hash)).toBe(true);
  expect(await verifyPassword('open sesame', hash)).toBe(true);
  expect(await verifyPassword('open sesame ', hash)).toBe(false);
  expect(await verifyPassword('', hash)).toBe(false);
  expect(await verifyPassword('open sesame', spoilt(hash, -20))).toBe(false);
  expect(await verifyPassword('open sesame', spoilt(hash, -60))).toBe(false);
});

test('two hashes of one password differ', async () => {
  expect(await hashPassword('same')).not.toBe(await hashPassword('same'));
});

test('composed or not, it is the same password', async () => {
  const hash = await hashPassword('gr\u00f6\u00dfer');
  expect(await verifyPassword('gro\u0308\u00dfer', hash)).toBe(true);
  expect(await verifyPassword('gro\u00dfer', hash)).toBe(false);
});

const SALT = 'AAAAAAAAAAAAAAAAAAAAAA';
const KEY = 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA';

test.for([
  ['nothing', ''],
  ['a password', 'secret'],
  ['another scheme', `$argon2id$v=19$m=65536,t=3,p=4$${SALT}$${KEY}`],
  ['128 MiB', `$scrypt$ln=17,r=8,p=1$${SALT}$${KEY}`],
  ['64 GiB', `$scrypt$ln=26,r=8,p=1$${SALT}$${KEY}`],
  ['more than a number holds', `$scrypt$ln=99,r=8,p=1$${SALT}$${KEY}`],
  ['much memory by r', `$scrypt$ln=15,r=32,p=1$${SALT}$${KEY}`],
  ['much work by p', `$scrypt$ln=15,r=8,p=9$${SALT}$${KEY}`],
  ['next to no work', `$scrypt$ln=11,r=8,p=1$${SALT}$${KEY}`],
  ['r of 0', `$scrypt$ln=15,r=0,p=1$${SALT}$${KEY}`],
  ['p of 0', `$scrypt$ln=15,r=8,p=0$${SALT}$${KEY}`],
  ['a short key', `$scrypt$ln=15,r=8,p=1$${SALT}$AAAA`],
  ['a long key', `$scrypt$ln=15,r=8,p=1$${SALT}$${KEY}${KEY}${KEY}`],
  ['no salt', `$scrypt$ln=15,r=8,p=1$$${KEY}`],
  ['padding', `$scrypt$ln=15,r=8,p=1$${SALT}==$${KEY}=`],
  ['bits that mean nothing', `$scrypt$ln=15,r=8,p=1$${SALT}$${KEY.slice(0, -1)}B`],
  ['a line more', `$scrypt$ln=15,r=8,p=1$${SALT}$${KEY}\n`],
] as const)('a hash that asks for too much, or is none, is refused: %s', async ([, hash]) => {
  expect(isPasswordHash(hash)).toBe(false);
  const error: unknown = await verifyPassword('secret', hash).catch((thrown: unknown) => thrown);
  expect(isPatchVdiError(error) && error.kind).toBe('usage');
  expect(JSON.stringify(error)).not.toContain(KEY);
});

test('the table above is not refused for its form', () => {
  expect(isPasswordHash(`$scrypt$ln=15,r=8,p=1$${SALT}$${KEY}`)).toBe(true);
  expect(isPasswordHash(`$scrypt$ln=15,r=8,p=8$${SALT}$${KEY}`)).toBe(true);
});

test.for(['', 'x'.repeat(1025), '\u00f6'.repeat(513)])('what is no password is refused', async (password) => {
  await expect(hashPassword(password)).rejects.toMatchObject({ kind: 'usage' });
  expect(await verifyPassword(password, cheapHash('x'))).toBe(false);
});

test('what is too long is not the password that it begins with', async () => {
  const longest = 'x'.repeat(1024);
  const hash = cheapHash(longest);
  expect(await verifyPassword(longest, hash)).toBe(true);
  expect(await verifyPassword(`${longest}x`, hash)).toBe(false);
});

test('258 may be checked at once, the next one is refused, and afterwards all is as before', async () => {
  const hash = cheapHash('secret');
  const settled = await Promise.allSettled(
    Array.from({ length: 270 }, (_, index) => verifyPassword(index % 2 === 0 ? 'secret' : 'wrong', hash)),
  );
  const refused = settled.flatMap((one, index) => (one.status === 'rejected' ? [{ index, one }] : []));
  expect(refused.map(({ index }) => index)).toEqual(Array.from({ length: 12 }, (_, index) => 258 + index));
  for (const { one } of refused) {
    expect(isPoolError(one.reason) && one.reason.description).toEqual(['SESSION_AUTHENTICATION_FAILED']);
  }
  const answers = settled.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
  expect(answers).toEqual(Array.from({ length: 258 }, (_, index) => index % 2 === 0));
  expect(await verifyPassword('secret', hash)).toBe(true);
});
