/* Which files an image makes us open. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { openParentFile } from '../../src/inspect/parent-file.js';
import { runJudge } from '../oracles/run-judge.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';

function folders(): { inside: string; image: string } {
  const inside = join(temporaryFolder(), 'images');
  mkdirSync(join(inside, 'below'), { recursive: true });
  for (const name of ['base.vhd', 'below/base.vhd', '../secret'])
    writeFileSync(join(inside, name), 'x'.repeat(600));
  return { inside, image: join(inside, 'child.vhd') };
}

describe('the parent of a differencing disk', () => {
  test.for(['base.vhd', 'below/base.vhd'])('%s is opened', async (name) => {
    const { inside, image } = folders();
    const reader = await openParentFile(image, `${inside}/${name}`, {});
    expect(reader).toMatchObject({ sizeBytes: 600, forwardOnly: false });
    await reader.close();
  });

  test.for(['../secret', 'below/../../secret', 'below/..', '..'])('%s is not', async (name) => {
    const { inside, image } = folders();
    await expect(openParentFile(image, `${inside}/${name}`, {})).rejects.toMatchObject({ kind: 'image' });
  });

  test('an image that was named by .. has its parent beside it', async () => {
    const { inside } = folders();
    const reader = await openParentFile(`${inside}/below/../child.vhd`, `${inside}/below/../base.vhd`, {});
    await reader.close();
  });

  test('is no pipe: nobody would ever write to it', async () => {
    const { inside, image } = folders();
    const path = join(inside, 'pipe.vhd');
    expect(runJudge('mkfifo', [path]).exitCode).toBe(0);
    await expect(openParentFile(image, path, {})).rejects.toMatchObject({ context: { found: 'a pipe' } });
  });

  test('is no URL: nobody is called', async () => {
    let calls = 0;
    const server = createServer((_request, response) => {
      calls += 1;
      response.end();
    });
    await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
    onTestFinished(() => void server.close());
    const { port } = server.address() as AddressInfo;
    // An image in the working folder has no folder in its name: the text of the image stands alone then.
    const url = `http://127.0.0.1:${port}/base.vhd`;
    await expect(openParentFile('child.vhd', url, {})).rejects.toMatchObject({ context: { found: 'a URL' } });
    expect(calls).toBe(0);
  });
});
