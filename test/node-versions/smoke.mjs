/* The main jobs once through, with the installed package and one version of Node; gpg, e2fsck and cmp judge. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run, startUntil } from './nodes.mjs';

const START_MILLISECONDS = 30_000;

/** A key and a patch signed with it, looked at, taken apart, refused when it is damaged. */
function buildAndRead(cli, folder) {
  cli('test', 'key', '-o', 'keys', '--seed', '7');
  cli('test', 'patch', '-o', 'hotfix.xsupdate', '--size', '3M', '--sign', 'keys', '--seed', '7');
  run('gpgv', ['--keyring', join(folder, 'keys/keyring.gpg'), join(folder, 'hotfix.xsupdate')], {
    cwd: folder,
  });
  const keyring = ['--keyring', 'keys/keyring.gpg'];
  cli('build', 'hotfix.xsupdate', '-o', 'hotfix.vhd', ...keyring);
  cli('build', 'hotfix.xsupdate', '-o', 'hotfix.raw', ...keyring);
  run('e2fsck', ['-fn', 'hotfix.raw'], { cwd: folder });
  const { patch } = JSON.parse(cli('inspect', 'hotfix.vhd', '--json'));
  if (patch.size !== 3 * 1024 * 1024) throw new Error(`inspect: a patch of ${patch.size} bytes`);
  cli('verify', 'hotfix.vhd', ...keyring);
  cli('extract', 'hotfix.vhd', '-o', 'extracted');
  run('cmp', ['extracted', 'hotfix.xsupdate'], { cwd: folder });
  cli('diff', 'hotfix.vhd', 'hotfix.raw', '--content');
}

/** The pool side and its client, over TLS. */
async function serveAndUpload(program, cli, folder, env) {
  writeFileSync(
    join(folder, 'pool.yaml'),
    'listen: {address: 127.0.0.1, port: 0}\nsignature: {keyrings: [keys/keyring.gpg]}\n',
  );
  const serve = ['serve', '--state', 'state', '--config', 'pool.yaml', '--log-format', 'json'];
  const server = await startUntil(program, serve, /serves (https:\S+)/, START_MILLISECONDS, {
    cwd: folder,
    env,
  });
  try {
    const [, password] = /password of root[^\n]*\n\n\s*(\S+)/.exec(server.said()) ?? [];
    writeFileSync(join(folder, 'password'), `${password}\n`, { mode: 0o600 });
    const pool = [
      '--pool',
      server.found[1],
      '--password-file',
      'password',
      '--ca-file',
      'state/certificate.pem',
    ];
    cli('pool', 'upload', 'hotfix.xsupdate', ...pool);
    const {
      patches: [patch],
    } = JSON.parse(cli('pool', 'patches', '--json', ...pool));
    cli('pool', 'download', patch.uuid, '-o', 'downloaded', ...pool);
    run('cmp', ['downloaded', 'hotfix.xsupdate'], { cwd: folder });
  } catch (error) {
    await server.stop();
    throw error;
  }
  const code = await server.stop();
  if (code !== 0) throw new Error(`serve: exit ${code} after SIGTERM\n${server.said()}`);
}

/** Throws at the first thing that is not as it should be. */
export async function smoke(program, env, folder) {
  mkdirSync(folder);
  const cli = (...args) => run(program, args, { cwd: folder, env });
  buildAndRead(cli, folder);
  await serveAndUpload(program, cli, folder, env);
  // What must fail, fails: else nothing above would say much.
  run('dd', ['if=/dev/zero', 'of=hotfix.xsupdate', 'bs=1', 'seek=2000000', 'count=64', 'conv=notrunc'], {
    cwd: folder,
  });
  const damaged = ['build', 'hotfix.xsupdate', '-o', 'damaged.vhd', '--keyring', 'keys/keyring.gpg'];
  run(program, damaged, { cwd: folder, env, expected: 3 });
}
