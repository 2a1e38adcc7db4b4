import { expect, test } from 'vitest';
import { logText, logWriter, plainLine } from '../../src/cli/log-lines.js';
import { MIB } from '../../src/units.js';

const METHOD = 'x\u001b[2J\u009b31m\u202eevil\u2028\n';
const LINE = `${JSON.stringify({ level: 30, time: '2026-11-21T18:16:00.000Z', method: METHOD, msg: 'call' })}\n`;

test('no line of the log does anything to a terminal, and JSON says the same as before', () => {
  for (const line of [logText(LINE), plainLine(LINE).slice(0, -1)])
    expect(line).toMatch(/^[\u0020-\u007e]*$/);
  expect(JSON.parse(plainLine(LINE))).toEqual(JSON.parse(LINE));
});

test('a log that nobody reads does not grow in memory, and says what is missing when it is read again', () => {
  const written: string[] = [];
  const stream = {
    writableLength: 0,
    write(text: string | Uint8Array): boolean {
      written.push(String(text));
      this.writableLength += text.length;
      return true;
    },
  };
  const write = logWriter(stream, plainLine);
  const line = `${JSON.stringify({ msg: 'x'.repeat(1000) })}\n`;
  for (let count = 0; count < 10_000; count += 1) write(line);
  expect(stream.writableLength).toBeLessThan(4 * MIB + 2 * line.length);
  const before = written.length;
  stream.writableLength = 0;
  write(line);
  expect(written).toHaveLength(before + 2);
  expect(JSON.parse(written[before] ?? '')).toMatchObject({
    level: 40,
    msg: `${10_000 - before} lines of the log were left out: nobody read them`,
  });
});
