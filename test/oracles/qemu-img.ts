import { statSync } from 'node:fs';
import { runJudge, verdictAgainst } from './run-judge.js';

/** qemu's name of the VHD format. */
export type QemuFormat = 'vpc' | 'raw';

export interface ImageInfo {
  readonly format: string;
  readonly virtualSize: number;
  readonly clusterSize: number | undefined;
}

/** What `qemu-img info` says. Also a warning, such as one about a checksum, is an error. */
export function info(imagePath: string, format: QemuFormat = 'vpc'): ImageInfo {
  const result = runJudge('qemu-img', ['info', '--output=json', '-f', format, imagePath]);
  if (result.exitCode !== 0 || result.stderr !== '') throw verdictAgainst('qemu-img info', imagePath, result);
  const answer = JSON.parse(result.stdout) as Record<string, unknown>;
  const clusterSize = answer['cluster-size'];
  return {
    format: String(answer['format']),
    virtualSize: Number(answer['virtual-size']),
    clusterSize: typeof clusterSize === 'number' ? clusterSize : undefined,
  };
}

/** Writes what the guest would see, as a sparse raw file. */
export function convertToRaw(imagePath: string, to: string): void {
  const result = runJudge('qemu-img', ['convert', '-f', 'vpc', '-O', 'raw', imagePath, to]);
  if (result.exitCode !== 0 || result.stderr !== '')
    throw verdictAgainst('qemu-img convert', imagePath, result);
}

/**
 * Whether two raw files have the same bytes. Unlike cmp it skips what is a hole in both, so sparse files of terabytes
 * take as long as their data.
 */
export function sameBytes(onePath: string, otherPath: string): boolean {
  // Without -s, which would also compare where the holes are, a longer file counts as the same if the rest is zeros.
  if (statSync(onePath).size !== statSync(otherPath).size) return false;
  const result = runJudge('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', onePath, otherPath]);
  if ((result.exitCode !== 0 && result.exitCode !== 1) || result.stderr !== '')
    throw verdictAgainst('qemu-img compare', onePath, result);
  return result.exitCode === 0;
}
