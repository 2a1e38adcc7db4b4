import { styleText } from 'node:util';
import type { MapKind } from '../inspect/disk-map.js';
import type { Paint } from '../inspect/draw-text.js';

const STYLES: Readonly<Record<MapKind, Parameters<typeof styleText>[0]>> = {
  superblock: ['bold', 'red'],
  metadata: 'yellow',
  payload: 'blue',
  other: 'magenta',
  free: 'gray',
  outside: 'gray',
};

/** Colour for a terminal that wants it (https://no-color.org); nothing for pipes and files. */
export function painter(stream: NodeJS.WriteStream): Paint {
  if (!stream.isTTY || !stream.hasColors()) return (_kind, letters) => letters;
  return (kind, letters) => styleText(STYLES[kind], letters);
}
