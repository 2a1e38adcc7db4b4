// A VHD from a raw disk as vhd-lib writes it, for the benchmark.   node vhd-lib-write.mjs vhd|vhd-fixed RAW VHD
import { createWriteStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { pipeline } from 'node:stream/promises';

const { createReadableRawStream, createReadableSparseStream } = createRequire(import.meta.url)('vhd-lib');
const BLOCK_BYTES = 2 * 1024 * 1024;
const ZEROS = Buffer.alloc(BLOCK_BYTES);

const [format, raw, output] = process.argv.slice(2);
const file = await open(raw);
const { size } = await file.stat();

async function readBlock(address) {
  const data = Buffer.alloc(BLOCK_BYTES);
  await file.read(data, 0, BLOCK_BYTES, address);
  return data;
}

/** It has to know all addresses before the first byte: one pass to learn which blocks are not all zeros. */
const addresses = [];
for (let address = 0; address < size; address += BLOCK_BYTES) {
  if (!(await readBlock(address)).equals(ZEROS)) addresses.push(address);
}

async function* fragments() {
  for (const logicalAddressBytes of addresses) {
    yield { logicalAddressBytes, data: await readBlock(logicalAddressBytes) };
  }
}

/** Its other function wants a parser of its own kind: `next`, and null at the end. */
function parser() {
  const all = fragments();
  return { next: async () => (await all.next()).value ?? null };
}

const stream =
  format === 'vhd'
    ? await createReadableSparseStream(size, BLOCK_BYTES, addresses, fragments())
    : createReadableRawStream(size, parser());
await pipeline(stream, createWriteStream(output));
await file.close();
