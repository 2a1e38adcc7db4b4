// The parts of the benchmark, in the order of the report. To add one: a file beside this with an exported function
// that takes the bench (context.mjs) and returns sections (markdown.mjs); and a line here.
import { buildRows } from './build-rows.mjs';
import { inspectRows } from './inspect-rows.mjs';
import { memoryRows } from './memory-rows.mjs';
import { peerRows } from './peer-rows.mjs';
import { plotRows } from './plot-rows.mjs';
import { serverRows } from './server-rows.mjs';
import { uploadRows } from './upload-rows.mjs';

/** name: also the option that runs this part alone; `measure` may be asynchronous. */
export const PARTS = [
  { name: 'build', title: 'Build', measure: buildRows },
  { name: 'upload', title: 'Into a pool', measure: uploadRows },
  { name: 'server', title: 'The pool side', measure: serverRows },
  { name: 'inspect', title: 'Reading', measure: inspectRows },
  { name: 'memory', title: 'Memory, size and plans', measure: memoryRows },
  { name: 'peers', title: 'Beside other ways to the same disk', measure: peerRows },
  { name: 'plot', title: 'From small to large', measure: plotRows },
];
