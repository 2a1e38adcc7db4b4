import { runProgram } from './program.js';
import { lostOutput, watchStandardStreams, wordsTaken } from './standard-streams.js';

watchStandardStreams();
const exitCode = await runProgram(process.argv);
await wordsTaken();
// exit() rather than an exit code left behind: a silent standard input must not keep the process alive.
process.exit(exitCode === 0 ? await lostOutput() : exitCode);
