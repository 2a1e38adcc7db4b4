// The machine that a report was made on, so that a reader can tell what its figures are worth. No names, no paths.
import { execFileSync, spawnSync } from 'node:child_process';
import { cpus, release, totalmem } from 'node:os';

const VERSIONS = [
  ['mke2fs', '-V'],
  ['qemu-img', '--version'],
  ['gpgv', '--version'],
  ['genext2fs', '-V'],
  ['virt-make-fs', '--version'],
  ['curl', '--version'],
  ['strace', '--version'],
];

/** The first version number that a program says of itself; undefined: it is not there. */
export function versionOf(program, ...args) {
  const { error, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8' });
  if (error !== undefined) return undefined;
  return (
    /\d+(?:\.\d+)+\S*|\b\d{6,}\b/.exec(`${stdout}${stderr}`)?.[0].replace(/[,)]$/, '') ?? 'unknown version'
  );
}

/** One column of df(1) for a folder. */
const dfColumn = (folder, column) =>
  execFileSync('df', [`--output=${column}`, '-BG', folder], { encoding: 'utf8' })
    .trim()
    .split('\n')
    .at(-1)
    .trim();

/** The commit, and whether the tree had more than it. */
export function commit() {
  const git = (...args) => execFileSync('git', args, { encoding: 'utf8', cwd: import.meta.dirname }).trim();
  try {
    const changed = git('status', '--porcelain', '--untracked-files=no') !== '';
    return `${git('rev-parse', '--short=12', 'HEAD')}${changed ? ', with changes that are not committed' : ''}`;
  } catch {
    return 'not from a clone';
  }
}

/** @returns rows of a table: what, and its value */
export function machineRows({ memory, disk, commandLine }) {
  const cores = cpus();
  const tools = VERSIONS.map(
    ([program, option]) => `${program} ${versionOf(program, option) ?? '(not installed)'}`,
  );
  const half = Math.ceil(tools.length / 2);
  return [
    ['processor', `${cores.length} x ${cores[0]?.model.trim() ?? 'unknown'}`],
    ['memory', `${Math.round(totalmem() / 2 ** 30)} GiB`],
    ['kernel', `${process.platform} ${release().replace(/^(\d+\.\d+\.\d+).*/, '$1')}, ${process.arch}`],
    ['Node', process.version],
    ['programs', tools.slice(0, half).join(', ')],
    ['', tools.slice(half).join(', ')],
    ['"tmpfs" below', dfColumn(memory, 'fstype')],
    ['"disk" below', `${dfColumn(disk, 'fstype')}, ${dfColumn(disk, 'avail')} free`],
    ['date', new Date().toISOString().slice(0, 10)],
    ['commit', commit()],
    ['command', commandLine],
  ];
}
