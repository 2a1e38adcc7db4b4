import { fstatSync, statSync, type Stats } from 'node:fs';
import { join } from 'node:path';
import { PatchVdiError } from '../errors.js';
import type { BuildOptions } from './options.js';

interface Input {
  readonly what: string;
  readonly stats: Stats | undefined;
}

function statOf(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch {
    // Not to be looked at: whoever opens it next reports why.
    return undefined;
  }
}

function inputsOf({ source, verify }: BuildOptions): Input[] {
  const { keyrings = [], detachedSignature } = verify.signature ?? {};
  // A keyring may be a folder, of which one file is read.
  const files = keyrings.flatMap((path) => [path, join(path, 'pubring.kbx'), join(path, 'pubring.gpg')]);
  const inputs = files.map((path) => ({ what: 'a keyring', stats: statOf(path) }));
  if (detachedSignature !== undefined)
    inputs.push({ what: 'the signature', stats: statOf(detachedSignature) });
  if (typeof source === 'string') inputs.push({ what: 'the upload', stats: statOf(source) });
  else if ('fd' in source && typeof source.fd === 'number') {
    inputs.push({ what: 'the upload', stats: fstatSync(source.fd) });
  }
  return inputs;
}

/** A device may have several names that are no links to each other. */
function isSame(one: Stats, other: Stats): boolean {
  if (one.isBlockDevice() && other.isBlockDevice()) return one.rdev === other.rdev;
  return one.dev === other.dev && one.ino === other.ino;
}

/**
 * An output that replaces a file must not replace one of its own inputs.
 *
 * @throws PatchVdiError `usage`
 */
export function refuseReplacingInputs(options: BuildOptions): void {
  const { sink } = options;
  const path = typeof sink === 'string' ? sink : 'path' in sink ? sink.path : undefined;
  if (typeof path !== 'string') return;
  const output = statOf(path);
  // Without force, a file that is there is refused anyway, and with better words.
  if (output === undefined || (typeof sink === 'string' && !output.isBlockDevice())) return;
  const same = inputsOf(options).find(({ stats }) => stats !== undefined && isSame(stats, output));
  if (same === undefined) return;
  throw new PatchVdiError('usage', `the output would replace ${same.what}`, {
    context: { path, found: same.what, expected: 'a file of its own' },
    hint: 'choose another name for the output',
  });
}
