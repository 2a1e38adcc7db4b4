// `patch-vdi serve` for the benchmark: on loopback, with the whole state in one folder.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const START_MILLISECONDS = 20_000;

/** Seconds of processor time so far: of the process, and of the programs that it has waited for (proc(5)). */
function processorSeconds(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const ticks = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 15)
    .map(Number);
  return { own: (ticks[0] + ticks[1]) / 100, tools: (ticks[2] + ticks[3]) / 100 };
}

/** @param tls false: plain HTTP */
export async function startServer(cli, parent, { keyring, tls }) {
  const folder = join(parent, tls ? 'served-tls' : 'served');
  mkdirSync(folder, { recursive: true });
  const config = join(folder, 'pool.yaml');
  const lines = [
    'listen: {address: 127.0.0.1, port: 0}',
    `signature: {keyrings: [${keyring}]}`,
    ...(tls ? [] : ['tls: off']),
  ];
  writeFileSync(config, `${lines.join('\n')}\n`);
  const state = join(folder, 'state');
  const child = spawn(process.execPath, [cli, 'serve', '--state', state, '--config', config], {
    env: { ...process.env, TMPDIR: folder },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  process.on('exit', () => child.kill('SIGKILL'));
  const url = await new Promise((listens, failed) => {
    let said = '';
    const timer = setTimeout(() => failed(new Error(`it does not listen: ${said}`)), START_MILLISECONDS);
    child.once('exit', () => failed(new Error(`it ended: ${said}`)));
    child.stderr.on('data', (part) => {
      said += part.toString();
      const found = /serves (https?:\/\/\S+)/.exec(said)?.[1];
      if (found === undefined) return;
      clearTimeout(timer);
      writeFileSync(
        join(folder, 'curl'),
        `user = "root:${/once:\s+(\S+)/.exec(said)?.[1]}"\nfail\nsilent\nshow-error\n`,
        {
          mode: 0o600,
        },
      );
      listens(found);
    });
  });
  const certificate = tls ? `--cacert ${join(state, 'certificate.pem')}` : '';
  return {
    /** A command line up to the path of the URL. */
    curl: (options, target) =>
      `curl --config ${join(folder, 'curl')} ${certificate} ${options} '${url}${target}'`,
    processorSeconds: () => processorSeconds(child.pid),
    /** The largest that it ever was (proc(5), VmHWM). */
    peakMebibytes: () =>
      Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))[1]) / 1024,
    async stop() {
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      await ended;
    },
  };
}
