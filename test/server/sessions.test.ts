import { expect, test } from 'vitest';
import { Sessions } from '../../src/server/sessions.js';

const OPERATOR = { name: 'operator', role: 'pool-operator' } as const;
const READER = { name: 'reader', role: 'read-only' } as const;

test("who logs in and never out ends his own sessions, the oldest first, and nobody else's", () => {
  const sessions = new Sessions({ now: () => 0, maxSessions: 10 });
  const operator = sessions.open(OPERATOR, '');
  const readers = Array.from({ length: 30 }, () => sessions.open(READER, ''));
  expect(sessions.get(operator.ref)).toBe(operator);
  const left = readers.filter(({ ref }) => {
    try {
      return sessions.get(ref) !== undefined;
    } catch {
      return false;
    }
  });
  expect(left).toEqual(readers.slice(-9));
});
