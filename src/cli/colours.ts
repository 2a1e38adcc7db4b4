import type { MapKind } from '../inspect/disk-map.js';
import type { Paint } from '../inspect/draw-text.js';
import { wantsColours } from './environment.js';

/** Select Graphic Rendition, ECMA-48 8.3.117. (Node's styleText looks at the environment itself, and not as we do.) */
const STYLES: Readonly<Record<MapKind, string>> = {
  superblock: '1;31',
  metadata: '33',
  payload: '34',
  other: '35',
  free: '90',
  outside: '90',
};

/** Colour for a terminal that wants it; nothing for pipes and files. */
export function painter(stream: NodeJS.WriteStream): Paint {
  if (!wantsColours(stream.isTTY)) return (_kind, letters) => letters;
  return (kind, letters) => `\u001b[${STYLES[kind]}m${letters}\u001b[0m`;
}
