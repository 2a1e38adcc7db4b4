import type { WalkedEntry } from '../ext/paths.js';
import { listMode, octalMode } from '../inspect/mode-text.js';
import { isoNanoseconds, isoSeconds } from '../inspect/uuid-text.js';
import { visible } from './text.js';

/** One file as `ls -l` shows it, with the time in UTC. */
export function listLine({ path, facts }: WalkedEntry): string {
  const owner = `${facts.uid}:${facts.gid}`;
  const time = (isoSeconds(facts.mtime.seconds) ?? '').replace('T', ' ').replace(/Z$/, '');
  return `${listMode(facts.type, facts.mode)} ${owner.padEnd(9)} ${String(facts.sizeBytes).padStart(12)} ${time} ${visible(path)}`;
}

/** The same for programs. */
export function listedEntry({ path, facts }: WalkedEntry): object {
  const { inodeNumber, type, uid, gid, sizeBytes, linkCount } = facts;
  return {
    path: `/${path}`,
    inodeNumber,
    type,
    mode: octalMode(facts.mode),
    uid,
    gid,
    linkCount,
    sizeBytes,
    mtime: isoNanoseconds(facts.mtime),
  };
}
