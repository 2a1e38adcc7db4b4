import { statSync } from 'node:fs';
import { expect } from 'vitest';
import { expectNothingLeft } from '../cli.js';
import type { Workspace } from '../workspace.js';
import { USELESS, usesOf, type ImageFormat } from './importer.js';

/** After a build with -o that failed: the folder of images is as empty as before. */
export function expectNoOutput(work: Workspace): void {
  expect(work.outputs()).toEqual([]);
  expectNothingLeft(work);
}

/** After a build behind `>` or a pipe that failed: what came out is of no use to anybody. Needs the image judges. */
export async function expectUselessOutput(image: string, format: ImageFormat): Promise<void> {
  if (statSync(image).size === 0) return;
  expect(await usesOf(image, format)).toMatchObject(USELESS);
}
