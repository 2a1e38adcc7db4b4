import { expect, test } from 'vitest';
import { isPoolError } from '../../src/pool/pool-error.js';
import { AttemptCounter } from '../../src/server/attempts.js';
import { httpErrorOf } from '../../src/server/http-refusal.js';
import { Users } from '../../src/server/users.js';
import { cheapHash } from './scrypt-judge.js';

const SECONDS = 1000;
const HOME = '192.0.2.1';
const ELSEWHERE = '192.0.2.2';

function someUsers(): { users: Users; readonly wait: (milliseconds: number) => void } {
  let now = 0;
  const users = Users.of(
    [
      { name: 'root', role: 'pool-admin', passwordHash: cheapHash('right') },
      { name: 'reader', role: 'read-only', passwordHash: cheapHash('peek') },
    ],
    () => now,
  );
  return { users, wait: (milliseconds) => void (now += milliseconds) };
}

/** The role, or the error as a client sees it. */
async function outcome(users: Users, name: string, password: string, address = HOME): Promise<string> {
  try {
    return (await users.authenticate(name, password, address)).role;
  } catch (error) {
    if (!isPoolError(error)) throw error;
    expect(JSON.stringify([error.message, error.parameters])).not.toContain(password);
    return error.description.join();
  }
}

const FAILED = 'SESSION_AUTHENTICATION_FAILED';
/** Not a word of the password: nobody has looked at it. */
const THROTTLED = `${FAILED},too many wrong passwords from your address: try again in 6 s`;

async function fail(users: Users, times: number, address = HOME): Promise<void> {
  for (let count = 0; count < times; count += 1) {
    expect(await outcome(users, 'root', `wrong ${count}`, address)).toBe(FAILED);
  }
}

test.for([
  ['root', 'right', 'pool-admin'],
  ['reader', 'peek', 'read-only'],
  ['root', 'peek', FAILED],
  ['reader', 'right', FAILED],
  ['root', 'Right', FAILED],
  ['Root', 'right', FAILED],
  ['root ', 'right', FAILED],
  ['', 'right', FAILED],
  ['nobody', 'right', FAILED],
  ['__proto__', 'right', FAILED],
  ['x'.repeat(100_000), 'y'.repeat(100_000), FAILED],
] as const)('name and password decide (%#)', async ([name, password, expected]) => {
  expect(await outcome(someUsers().users, name, password)).toBe(expected);
});

test('authenticate can be handed on', async () => {
  const { authenticate } = someUsers().users;
  expect(await authenticate('root', 'right', HOME)).toEqual({ name: 'root', role: 'pool-admin' });
});

test('after 20 wrong passwords a client is refused for 6 seconds an attempt, and nobody else is', async () => {
  const { users, wait } = someUsers();
  await fail(users, 20);
  expect(await outcome(users, 'root', 'right')).toBe(THROTTLED);
  expect(await outcome(users, 'reader', 'peek')).toBe(THROTTLED);
  expect(await outcome(users, 'root', 'guess')).toBe(THROTTLED);
  expect(await outcome(users, 'root', 'right', ELSEWHERE)).toBe('pool-admin');
  wait(61 * SECONDS);
  // What was remembered is forgotten, and 10 attempts came back.
  await fail(users, 10);
  expect(await outcome(users, 'root', 'right')).toBe(THROTTLED);
  wait(6 * SECONDS);
  expect(await outcome(users, 'root', 'right')).toBe('pool-admin');
});

test('right passwords cost no attempts', async () => {
  const { users, wait } = someUsers();
  await fail(users, 19);
  for (let round = 0; round < 5; round += 1) {
    expect(await outcome(users, 'root', 'right')).toBe('pool-admin');
    expect(await outcome(users, 'reader', 'peek')).toBe('read-only');
    wait(1);
  }
});

test('who asks 100 times at once tries no more than 20 passwords', async () => {
  const { users } = someUsers();
  const guesses = Array.from({ length: 100 }, (_, index) => (index === 50 ? 'right' : `wrong ${index}`));
  const outcomes = await Promise.all(guesses.map((password) => outcome(users, 'root', password)));
  expect(new Set(outcomes)).toEqual(new Set([FAILED, THROTTLED]));
  expect(outcomes.filter((text) => text === FAILED)).toHaveLength(20);
});

test('over HTTP it is 429 with the time to wait, and a wrong password is 401', async () => {
  const { users } = someUsers();
  const answer = async () =>
    httpErrorOf(await users.authenticate('root', 'wrong', HOME).catch((error: unknown) => error));
  expect(await answer()).toMatchObject({ status: 401, headers: { 'WWW-Authenticate': expect.any(String) } });
  await fail(users, 19);
  expect(await answer()).toMatchObject({ status: 429, headers: { 'Retry-After': '6' } });
});

test('what was right within a minute is believed also from a client that is refused, and from any other', async () => {
  const { users, wait } = someUsers();
  expect(await outcome(users, 'root', 'right')).toBe('pool-admin');
  wait(59 * SECONDS);
  await fail(users, 20);
  expect(await outcome(users, 'root', 'right')).toBe('pool-admin');
  // Not the name alone, nor another split of the same letters.
  expect(await outcome(users, 'root', 'wrong', ELSEWHERE)).toBe(FAILED);
  expect(await outcome(users, 'rootr', 'ight', ELSEWHERE)).toBe(FAILED);
  wait(1 * SECONDS);
  expect(await outcome(users, 'root', 'right')).toBe(THROTTLED);
});

test('equal checks at the same time are one: 500 clients do not fill the queue of 258', async () => {
  const { users } = someUsers();
  const clients = Array.from({ length: 500 }, (_, index) => `10.0.${Math.floor(index / 250)}.${index % 250}`);
  const right = await Promise.all(clients.map((address) => outcome(users, 'root', 'right', address)));
  expect(new Set(right)).toEqual(new Set(['pool-admin']));
  // Sabotage: different ones do fill it; whoever was refused so has lost no attempt.
  const other = someUsers().users;
  const mixed = await Promise.all(
    clients.map((address, index) => outcome(other, `nobody ${index}`, 'right', address)),
  );
  expect(new Set(mixed)).toEqual(new Set([FAILED]));
  expect(await outcome(other, 'root', 'right')).toBe('pool-admin');
});

test('a full queue takes no attempt away', async () => {
  const { users } = someUsers();
  const strangers = Array.from({ length: 258 }, (_, index) =>
    outcome(users, `nobody ${index}`, 'x', `10.1.${Math.floor(index / 250)}.${index % 250}`),
  );
  const refused = Array.from({ length: 20 }, (_, index) => outcome(users, 'root', `wrong ${index}`));
  expect(new Set(await Promise.all(refused))).toEqual(new Set([FAILED]));
  await Promise.all(strangers);
  await fail(users, 19);
  expect(await outcome(users, 'root', 'right')).toBe('pool-admin');
});

test.for([
  ['the same IPv4 address in another form', '192.0.2.1', '::ffff:192.0.2.1', true],
  ['the next IPv4 address', '192.0.2.1', '192.0.2.2', false],
  ['the same 64 bits', '2001:db8:1:2::1', '2001:db8:1:2:ffff:ffff:ffff:ffff', true],
  ['the same, written otherwise', '2001:db8::1', '2001:0DB8:0:0:1::', true],
  ['other 64 bits', '2001:db8:1:2::1', '2001:db8:1:3::1', false],
  ['a zone', 'fe80::1%eth0', 'fe80::2%eth0', true],
  ['loopback of both kinds', '127.0.0.1', '::1', false],
] as const)('one client, or two: %s', ([, one, other, same]) => {
  const counter = new AttemptCounter(() => 0);
  for (let count = 0; count < 20; count += 1) expect(counter.take(one)).toBe(true);
  expect(counter.take(one)).toBe(false);
  expect(counter.take(other)).toBe(!same);
});

test('the list of clients ends at 4096', () => {
  const counter = new AttemptCounter(() => 0);
  for (let index = 0; index < 10_000; index += 1) counter.take(`client ${index}`);
  expect(counter.size).toBe(4096);
});
