/*
 * A disk is under way until the change that makes its record ready is stored: who looks for what a dead process left,
 * while others work, must not take it for that.
 */
import { expect, test } from 'vitest';
import { recoverAttached } from '../../src/pool/recover.js';
import { SMALL_VDI_BYTES, filesOf, srRef, testPool } from './test-pool.js';

test('a disk that becomes ready while leftovers are looked for stays', async () => {
  const { pool, place } = await testPool();
  const sr = srRef(pool, 'one');
  const repository = pool.repositories.of(sr);
  let looking = true;
  let sawLeftovers = 0;
  const looks = (async () => {
    while (looking) {
      if (pool.vdis.hasLeftovers(sr)) sawLeftovers += 1;
      await recoverAttached(repository, pool);
      await new Promise((done) => setImmediate(done));
    }
  })();
  const made: string[] = [];
  for (let count = 0; count < 40; count += 1) {
    made.push(await pool.vdis.create({ sr, nameLabel: `${count}`, virtualSize: SMALL_VDI_BYTES }));
  }
  looking = false;
  await looks;
  expect(sawLeftovers).toBe(0);
  expect(pool.database.getAll('VDI').sort()).toEqual(made.sort());
  expect(filesOf(place)).toHaveLength(made.length);
});
