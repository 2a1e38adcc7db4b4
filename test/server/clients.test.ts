import { expect, test } from 'vitest';
import { Clients } from '../../src/server/clients.js';

test('64 bits of IPv6 are one client: the rest is its own choice', () => {
  const limits = { connectionsPerClient: 2, requestsAtOnce: 9, requestsPerClient: 2, uploadsAtOnce: 1 };
  const clients = new Clients(limits);
  const leave = [clients.connect('2001:db8::1'), clients.connect('2001:db8::2')];
  expect(clients.connect('2001:db8::3')).toBeUndefined();
  expect(clients.connect('2001:db8:0:1::3')).toBeDefined();
  leave[0]?.();
  expect(clients.connect('2001:db8::3')).toBeDefined();
  const ends = [clients.enter('2001:db8::1'), clients.enter('2001:db8::2')];
  expect(() => clients.enter('2001:db8::3')).toThrow('2 requests of this client');
  ends[0]?.();
  clients.enter('2001:db8::3');
});
