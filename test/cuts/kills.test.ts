import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  copyFileSync,
  createReadStream,
  existsSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { CLI } from '../e2e/cli.js';
import { USEFUL, USELESS, usesOf } from '../e2e/judges/importer.js';
import { dumpFile } from '../oracles/debugfs.js';
import { clean } from '../oracles/e2fsck.js';
import { convertToRaw } from '../oracles/qemu-img.js';
import { requireRoot, requireTool } from '../oracles/require-tool.js';

const MIB = 1024 * 1024;
const UPLOAD_BYTES = 40 * MIB;
const KILLS = Math.ceil(Number(process.env['PATCH_VDI_CUTS'] ?? 210) / 14);

let folder: string;
beforeEach((context) => {
  requireTool(context, 'debugfs', 'e2fsck', 'qemu-img', 'mount');
  requireRoot(context);
  folder = mkdtempSync(join(tmpdir(), 'pv-kills-'));
  writeFileSync(join(folder, 'upload'), randomBytes(UPLOAD_BYTES));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Starts a build through a pipe into `out/`; TMPDIR is inside `folder`. */
function startBuild(format: 'raw' | 'vhd', output: string) {
  const args = [CLI, 'build', '-', '--allow-unsigned', '--quiet', '--content-length', String(UPLOAD_BYTES)];
  const child = spawn(process.execPath, [...args, '--format', format, '-o', output], {
    stdio: ['pipe', 'inherit', 'inherit'],
    env: { ...process.env, TMPDIR: folder },
  });
  // A killed reader is what this test is about: the feeding ends with EPIPE.
  child.stdin.on('error', () => undefined);
  createReadStream(join(folder, 'upload'), { highWaterMark: 256 * 1024 }).pipe(child.stdin);
  return child;
}

/** Every byte of the upload is there, and e2fsck has nothing to say. */
function expectWhole(path: string, format: 'raw' | 'vhd', when: string): void {
  const raw = `${path}.whole`;
  if (format === 'vhd') convertToRaw(path, raw);
  else copyFileSync(path, raw);
  clean(raw);
  dumpFile(raw, '/patch', `${raw}.patch`);
  expect(readFileSync(`${raw}.patch`).equals(readFileSync(join(folder, 'upload'))), when).toBe(true);
  rmSync(raw);
  rmSync(`${raw}.patch`);
}

test.each(['raw', 'vhd'] as const)(
  '%s: killed with SIGKILL at random times, it leaves nothing of use, or all of it',
  async (format) => {
    const out = mkdtempSync(join(folder, 'out-'));
    const final = join(out, `image.${format}`);
    let killed = 0;
    for (let round = 0; round < KILLS; round += 1) {
      const milliseconds = 60 + Math.random() * 240;
      const child = startBuild(format, final);
      const exited = once(child, 'exit');
      await sleep(milliseconds);
      child.kill('SIGKILL');
      await exited;
      if (existsSync(final)) {
        // It was faster than the signal: then it is whole.
        expect(await usesOf(final, format), `after ${milliseconds} ms`).toEqual(USEFUL);
        rmSync(final);
        continue;
      }
      killed += 1;
      for (const name of readdirSync(out)) {
        expect(name).toMatch(/^\.image\..*\.tmp$/);
        const uses = await usesOf(join(out, name), format);
        // The seal is the last write, and the name comes after it: between the two, what a kill leaves is whole.
        if (uses.mounts) expectWhole(join(out, name), format, `after ${milliseconds} ms`);
        else expect(uses, `after ${milliseconds} ms`).toMatchObject(USELESS);
      }
    }
    expect(killed).toBeGreaterThan(0);

    const [code] = (await once(startBuild(format, final), 'exit')) as [number];
    expect(code).toBe(0);
    // The last one has removed what the killed ones left.
    expect(readdirSync(out)).toEqual([`image.${format}`]);
  },
);
