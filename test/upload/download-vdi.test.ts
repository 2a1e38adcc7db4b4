/* What a VDI says of itself, and what is made of it when that is not all there. */
import { expect, test } from 'vitest';
import { downloadVdi } from '../../src/upload/download-vdi.js';
import { WritableSink } from '../../src/io/stream-sink.js';
import { Writable } from 'node:stream';
import { MIB } from '../../src/units.js';
import { VDI } from '../../src/xenapi/records.js';
import { connected, thrownBy } from '../xenapi/pools.js';
import { scene } from './scene.js';

/** A VDI of an upload whose `other_config` somebody has changed, on its way out. */
async function download(change: (config: Record<string, string>) => void) {
  const at = await scene(MIB);
  const { vdi } = await at.upload({ format: 'raw' });
  const connection = await connected(at.pool);
  const record = await connection.callAs(VDI, 'VDI.get_record', vdi.ref);
  const config = { ...record.other_config };
  change(config);
  const parts: Buffer[] = [];
  const stream = new Writable({
    write(part: Buffer, _encoding, done) {
      parts.push(Buffer.from(part));
      done();
    },
  });
  const sink = new WritableSink('test', stream, new AbortController().signal);
  const work = downloadVdi(connection, vdi.ref, { ...record, other_config: config }, sink);
  return { at, parts, work };
}

test('all labels, or none: the patch comes out', async () => {
  const whole = await download(() => undefined);
  expect(await whole.work).toMatchObject({ sha256: whole.at.patch.sha256, isAsUploaded: true });
  const bare = await download((config) => {
    for (const key of Object.keys(config)) delete config[key];
  });
  expect(await bare.work).toMatchObject({ sha256: bare.at.patch.sha256, isAsUploaded: false });
});

test.for<[string, string | undefined, string]>([
  ['patch-vdi:signer', undefined, 'not all there'],
  ['patch-vdi:sha256', 'AB'.repeat(32), 'not all there'],
  ['patch-vdi:size', '9999999999999999', 'not all there'],
  ['patch-vdi:upload', 'some upload', 'never finished'],
])('%s is %s: nothing comes out', async ([key, value, found]) => {
  const { parts, work } = await download((config) => {
    if (value === undefined) delete config[key];
    else config[key] = value;
  });
  expect(await thrownBy(work)).toMatchObject({
    kind: 'image',
    context: { found: expect.stringContaining(found) as string },
  });
  expect(parts).toEqual([]);
});
