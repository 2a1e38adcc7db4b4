import { describe, expect, test } from 'vitest';
import type { DiskMap, MapCell, MapKind } from '../../src/inspect/disk-map.js';
import { drawSvg } from '../../src/inspect/draw-svg.js';
import { drawText } from '../../src/inspect/draw-text.js';
import { KIB, MIB } from '../../src/units.js';
import { requireTool } from '../oracles/require-tool.js';
import { runJudge } from '../oracles/run-judge.js';

const NOTHING = { superblock: 0, metadata: 0, payload: 0, other: 0, free: 0, outside: 0 };

/** One cell of 64 KiB a letter, as the legend has the letters. */
function mapOf(letters: string): DiskMap {
  const kinds: Readonly<Record<string, MapKind>> = {
    S: 'superblock',
    m: 'metadata',
    '#': 'payload',
    o: 'other',
    '.': 'free',
    ' ': 'free',
    x: 'outside',
  };
  const totals = { ...NOTHING };
  const cells = Array.from(letters, (letter, index): MapCell => {
    const kind = kinds[letter] ?? 'free';
    totals[kind] += 64 * KIB;
    return {
      offsetBytes: index * 64 * KIB,
      lengthBytes: 64 * KIB,
      kind,
      bytes: { ...NOTHING, [kind]: 64 * KIB },
      allocatedBytes: letter === ' ' ? 0 : 64 * KIB,
    };
  });
  const allocatedBytes = cells.reduce((sum, cell) => sum + cell.allocatedBytes, 0);
  return { diskBytes: letters.length * 64 * KIB, cellBytes: 64 * KIB, cells, totals, allocatedBytes };
}

const LETTERS = `Smm${'#'.repeat(70)}ooo${'.'.repeat(40)}${' '.repeat(12)}`;
const plain = (_kind: MapKind, letters: string): string => letters;

describe('in the terminal', () => {
  test('rows of 64 with the offset in front, then the legend with sums', () => {
    expect(drawText(mapOf(LETTERS), 80, plain)).toEqual([
      `  0 bytes |Smm${'#'.repeat(61)}|`,
      `    4 MiB |${'#'.repeat(9)}ooo${'.'.repeat(40)}${' '.repeat(12)}|`,
      '',
      '  S  superblock and backups         64 KiB',
      '  m  metadata                       128 KiB',
      '  #  payload                        4.38 MiB',
      '  o  journal, folders, other files  192 KiB',
      '  .  free (scratch space)           3.25 MiB',
      "  ' ' free and not allocated in the image file",
      '  one letter is 64 KiB; 7.25 MiB of 8 MiB have a place in the image file',
    ]);
  });

  test.for([40, 80, 132, 200])('nothing is wider than %d columns', (columns) => {
    for (const line of drawText(mapOf(LETTERS.repeat(8)), columns, plain)) {
      expect(line.length).toBeLessThanOrEqual(Math.max(columns, 72));
    }
  });

  test('equal neighbours are painted in one go', () => {
    const painted: string[] = [];
    drawText(mapOf('S##..'), 80, (kind, letters) => {
      painted.push(`${kind} ${letters}`);
      return letters;
    });
    expect(painted.slice(0, 3)).toEqual(['superblock S', 'payload ##', 'free ..']);
  });
});

describe('as SVG', () => {
  const svg = drawSvg(mapOf(LETTERS), { title: 'a <b> & "c"\u0001.vhd', subtitle: 'vhd, 8 MiB disk' });

  test('is well-formed XML, whatever the image is called', (context) => {
    requireTool(context, 'xmllint');
    expect(runJudge('xmllint', ['--noout', '-'], svg)).toMatchObject({ exitCode: 0, stderr: '' });
    const damaged = runJudge('xmllint', ['--noout', '-'], svg.replace('</svg>', ''));
    expect(damaged.exitCode, 'sabotage: the judge can say no').not.toBe(0);
  });

  test('has a square for each cell, each with its own words, and nothing from outside', () => {
    expect(svg.match(/<rect [^>]*><title>/g)).toHaveLength(LETTERS.length);
    expect(svg).toContain('<title>0 bytes: superblock and backups 64 KiB, 64 KiB allocated</title>');
    expect(svg).not.toMatch(/<script|href=|url\(|@import/);
  });
});

test('a cell of 2 MiB on a disk of 4 GiB is told in few words', () => {
  const map = { ...mapOf('S#'), cellBytes: 2 * MIB };
  expect(drawText(map, 80, plain).at(-1)).toContain('one letter is 2 MiB');
});
