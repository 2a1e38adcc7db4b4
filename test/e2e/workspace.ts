import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

/** Folders for one test: `out` for images, `tmp` as TMPDIR of the command line, the rest for inputs. */
export interface Workspace {
  readonly folder: string;
  readonly out: string;
  readonly tmp: string;
  /** A path in the folder of images. */
  output(name: string): string;
  /** Writes an input file; returns its path. */
  input(name: string, content: Uint8Array | string): string;
  /** All that is in the folder of images, hidden names too. */
  outputs(): string[];
  remove(): void;
}

/** A workspace that the caller removes; tests use {@link workspace}. */
export function makeWorkspace(parent = tmpdir()): Workspace {
  const folder = mkdtempSync(join(parent, 'e2e-'));
  const out = join(folder, 'out');
  const tmp = join(folder, 'tmp');
  mkdirSync(out);
  mkdirSync(tmp);
  return {
    folder,
    out,
    tmp,
    output: (name) => join(out, name),
    input(name, content) {
      const path = join(folder, name);
      writeFileSync(path, content);
      return path;
    },
    outputs: () => readdirSync(out).sort(),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** A workspace that is removed when the running test ends. */
export function workspace(): Workspace {
  const made = makeWorkspace();
  onTestFinished(() => made.remove());
  return made;
}
