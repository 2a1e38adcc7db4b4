import { runProgram } from './program.js';

// `patch-vdi --help | head -1`: a reader that has seen enough is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
});

// exit() rather than an exit code left behind: a silent standard input must not keep the process alive.
process.exit(await runProgram(process.argv));
