import type { InodeFacts } from '../ext/inode-facts.js';

/** Permission bits as chmod takes them: `0755`. */
export function octalMode(mode: number): string {
  return mode.toString(8).padStart(4, '0');
}

const TYPE_LETTERS: Readonly<Record<InodeFacts['type'], string>> = {
  regular: '-',
  directory: 'd',
  symlink: 'l',
  'character device': 'c',
  'block device': 'b',
  fifo: 'p',
  socket: 's',
  unknown: '?',
};

/** Type and permissions as `ls -l` shows them: `-rwxr-xr-x`. */
export function listMode(type: InodeFacts['type'], mode: number): string {
  const letters = Array.from('rwxrwxrwx', (letter, index) => ((mode >> (8 - index)) & 1 ? letter : '-'));
  const special = [
    [2, 0o4000, 's'],
    [5, 0o2000, 's'],
    [8, 0o1000, 't'],
  ] as const;
  for (const [index, bit, letter] of special) {
    if ((mode & bit) !== 0) letters[index] = letters[index] === 'x' ? letter : letter.toUpperCase();
  }
  return `${TYPE_LETTERS[type]}${letters.join('')}`;
}
