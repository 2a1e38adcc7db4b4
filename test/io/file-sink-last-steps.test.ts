import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { FileSink } from '../../src/io/file-sink.js';
import { requireRoot, requireTool } from '../oracles/require-tool.js';

test('an image that has its name keeps its bytes, though its temporary name cannot be removed', async (context) => {
  requireTool(context, 'chattr');
  requireRoot(context);
  const folder = mkdtempSync(join(tmpdir(), 'pv-last-'));
  const path = join(folder, 'a.raw');
  const sink = new FileSink(path, false);
  try {
    sink.write(Buffer.from('all of it'), 0);
    // Names may be added to the folder, and none removed.
    expect(spawnSync('chattr', ['+a', folder]).status).toBe(0);
    await expect(sink.commit(9)).rejects.toMatchObject({
      kind: 'sink',
      leftBehind: expect.stringContaining('complete') as string,
    });
    await sink.discard();
    expect(readFileSync(path, 'utf8')).toBe('all of it');
  } finally {
    spawnSync('chattr', ['-a', folder]);
    rmSync(folder, { recursive: true, force: true });
  }
});
