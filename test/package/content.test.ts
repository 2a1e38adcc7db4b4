import {
  readFileSync,
  readdirSync,
  statSync,
  writeFileSync,
  mkdirSync,
  symlinkSync,
  existsSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { publint } from 'publint';
import { rolldown } from 'rolldown';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { KIB, MIB } from '../../src/units.js';
import { BUNDLED } from './bundled.js';
import { PROJECT, mustRun, packPackage, run, type PackedPackage } from './packed.js';

let packed: PackedPackage;
beforeAll(() => {
  packed = packPackage();
});
afterAll(() => packed.remove());

interface Manifest {
  readonly [key: string]: unknown;
}

const manifestOf = (folder: string): Manifest =>
  JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest;

/** As tar lists them, without `package/`. */
const filesOf = ({ tarball, folder }: PackedPackage): string[] =>
  mustRun('tar', ['-tzf', tarball], folder)
    .split('\n')
    .filter((name) => name !== '')
    .map((name) => name.replace(/^package\//, ''));

describe('the tarball', () => {
  /** Every file matches one, and each of them has a file. */
  const EXPECTED: readonly RegExp[] = [
    /^package\.json$/,
    /^README\.md$/,
    /^CHANGELOG\.md$/,
    /^CONTRIBUTING\.md$/,
    /^LICENSE$/,
    /^docs\/[A-Za-z-]+\.(?:md|svg)$/,
    /^native-tools\/(?:README\.md|install\.sh|mke2fs\.conf|tools\.tsv)$/,
    /^dist\/THIRD-PARTY-LICENSES\.txt$/,
    /^dist\/cli\/main\.js$/,
    /^dist\/index\.js$/,
    /^dist\/index\.d\.ts$/,
    /^dist\/chunks\/[\w-]+\.js$/,
    // Of what the library's door leads to.
    /^dist\/(?:build|ext|host|inspect|io|plan|signature|tools|vhd)\/[\w/-]+\.d\.ts$/,
    /^dist\/(?:bytes|errors|finding-codes|findings|struct)\.d\.ts$/,
  ];

  test('holds what is meant to be in it, and nothing else', () => {
    const files = filesOf(packed);
    expect(files.filter((name) => !EXPECTED.some((pattern) => pattern.test(name)))).toEqual([]);
    expect(EXPECTED.filter((pattern) => !files.some((name) => pattern.test(name)))).toEqual([]);
  });

  test('is as large as it has to be', () => {
    const unpacked = filesOf(packed).reduce(
      (sum, name) => sum + statSync(join(packed.unpacked, name)).size,
      0,
    );
    const { size } = statSync(packed.tarball);
    console.log(`packed ${Math.round(size / KIB)} KiB, unpacked ${Math.round(unpacked / KIB)} KiB`);
    expect(size).toBeLessThan(1.5 * MIB);
    expect(unpacked).toBeLessThan(6 * MIB);
  });

  test('has everything that its README and pages refer to', () => {
    const pages = filesOf(packed).filter((name) => name.endsWith('.md'));
    const dead = pages.flatMap((page) => {
      const text = readFileSync(join(packed.unpacked, page), 'utf8').replaceAll(/^```[\s\S]*?^```/gm, '');
      return [...text.matchAll(/\]\(([^)#\s]+)[^)]*\)/g)]
        .map(([, target = '']) => target)
        .filter((target) => !/^[a-z]+:/.test(target))
        .filter((target) => !existsSync(join(packed.unpacked, dirname(page), target)))
        .map((target) => `${page}: ${target}`);
    });
    expect(dead).toEqual([]);
  });

  test('names no path of the machine that has built it', () => {
    const telling = filesOf(packed).filter((name) =>
      readFileSync(join(packed.unpacked, name), 'utf8').includes(PROJECT),
    );
    expect(telling).toEqual([]);
  });
});

describe('package.json', () => {
  test('runs nothing at its installation and needs no other package', () => {
    const manifest = manifestOf(packed.unpacked);
    const scripts = Object.keys(manifest['scripts'] as object);
    expect(scripts).not.toEqual(
      expect.arrayContaining([expect.stringMatching(/install|^prepare$|^preprepare$|^postprepare$/)]),
    );
    for (const key of [
      'dependencies',
      'optionalDependencies',
      'peerDependencies',
      'bundleDependencies',
      'gypfile',
    ]) {
      expect(manifest, key).not.toHaveProperty(key);
    }
    expect(manifest).toMatchObject({ license: 'MIT', type: 'module', engines: { node: '>=20.19' } });
  });

  test('is installed alone', () => {
    expect(readdirSync(join(packed.installed, 'node_modules')).sort()).toEqual([
      '.bin',
      '.package-lock.json',
      'patch-vdi',
    ]);
  });
});

describe('the program', () => {
  test('is a program', () => {
    const path = join(packed.unpacked, 'dist/cli/main.js');
    expect(readFileSync(path, 'utf8').split('\n')[0]).toBe('#!/usr/bin/env node');
    expect(statSync(path).mode & 0o111).toBe(0o111);
  });

  test('starts under its name', () => {
    const { version } = manifestOf(PROJECT);
    const said = run(packed.program, ['--version'], packed.folder);
    expect(said).toMatchObject({ code: 0, stderr: '' });
    expect(said.stdout).toContain(version);
  });

  test('has no part that a processor or a C library could refuse', () => {
    const binaries = filesOf(packed).filter((name) => {
      const bytes = readFileSync(join(packed.unpacked, name));
      return name.endsWith('.node') || name.endsWith('.wasm') || bytes.includes(0);
    });
    expect(binaries).toEqual([]);
  });
});

describe('the licences', () => {
  const text = (): string => readFileSync(join(packed.unpacked, 'dist/THIRD-PARTY-LICENSES.txt'), 'utf8');
  const rule = `\n${'-'.repeat(80)}\n\n`;
  const sections = (): readonly (readonly [string, string])[] =>
    text()
      .replace(/^[^\n]*\n\n/, '')
      .split(rule)
      .map((section) => [/^(\S+) \S+ \(/.exec(section)?.[1] ?? `no title: ${section.slice(0, 60)}`, section]);

  test('are those of the packages that we decided to have in it', () => {
    expect([...new Set(sections().map(([name]) => name))]).toEqual(BUNDLED);
  });

  test('are those of the packages that a source map names', async () => {
    const input = ['src/cli/main.ts', 'src/index.ts'];
    const bundle = await rolldown({ cwd: PROJECT, input, platform: 'node', logLevel: 'silent' });
    const { output } = await bundle.generate({ sourcemap: true, dir: join(packed.folder, 'maps') });
    await bundle.close();
    const sources = output.flatMap((chunk) => (chunk.type === 'chunk' ? (chunk.map?.sources ?? []) : []));
    const names = sources.flatMap(
      (source) => /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(source)?.[1] ?? [],
    );
    // The bundler's own helper functions have no source of their own in a map.
    expect([...new Set(names), 'rolldown'].sort()).toEqual([...BUNDLED].sort());
  });

  test('are there in full', () => {
    const GRANTS =
      /Permission is hereby granted|Permission to use, copy, modify|Redistribution and use in source|Apache License/;
    for (const [name, section] of sections()) {
      expect(section, name).toMatch(GRANTS);
      expect(section, name).toMatch(/copyright/i);
    }
    expect(text()).not.toMatch(/GNU (?:Affero|Lesser|General)/i);
    expect(readFileSync(join(packed.unpacked, 'LICENSE'), 'utf8')).toMatch(
      /^MIT License\n\nCopyright \(c\) \d{4} \S/,
    );
  });
});

describe('other judges', () => {
  const complaintsOf = async (folder: string): Promise<string[]> => {
    const { messages } = await publint({ pkgDir: folder, strict: true, pack: false });
    return messages.map(({ code, type }) => `${type} ${code}`);
  };
  /** A package with one file changed. */
  const spoilt = (name: string, change: (manifest: Manifest) => Manifest): string => {
    const folder = join(packed.folder, name, 'package');
    mkdirSync(dirname(folder), { recursive: true });
    mustRun('cp', ['-a', packed.unpacked, folder], packed.folder);
    writeFileSync(join(folder, 'package.json'), JSON.stringify(change(manifestOf(folder))));
    return folder;
  };
  const attw = (tarball: string) =>
    run(
      join(PROJECT, 'node_modules/.bin/attw'),
      [tarball, '--profile', 'esm-only', '--no-definitely-typed', '--format', 'ascii', '--no-color'],
      packed.folder,
    );

  test('publint has nothing to say', async () => {
    expect(await complaintsOf(packed.unpacked)).toEqual([]);
  });

  test('publint would say it', async () => {
    const folder = spoilt('no-types', (manifest) => ({ ...manifest, exports: { '.': './dist/nothing.js' } }));
    expect(await complaintsOf(folder)).toContain('error FILE_DOES_NOT_EXIST');
  });

  test('the types are not wrong', () => {
    const { code, stdout } = attw(packed.tarball);
    expect(stdout).toMatch(/^node16 \(from ESM\): 🟢 \(ESM\)$/m);
    expect(code).toBe(0);
  });

  test('attw would say so', () => {
    const folder = spoilt('wrong-types', (manifest) => ({
      ...manifest,
      exports: { '.': { types: './dist/nothing.d.ts', default: './dist/index.js' } },
    }));
    const tarball = join(packed.folder, 'wrong-types.tgz');
    mustRun('tar', ['-czf', tarball, '-C', dirname(folder), 'package'], packed.folder);
    expect(attw(tarball).code).toBe(1);
  });
});

describe('a project that uses the library', () => {
  /** Type-checks a program in a project that has the package and the types of Node, and nothing else. */
  function check(name: string, program: string) {
    const folder = join(packed.folder, name);
    mkdirSync(join(folder, 'node_modules/@types'), { recursive: true });
    symlinkSync(packed.unpacked, join(folder, 'node_modules/patch-vdi'));
    for (const types of ['@types/node', 'undici-types']) {
      symlinkSync(join(PROJECT, 'node_modules', types), join(folder, 'node_modules', types));
    }
    const compilerOptions = {
      strict: true,
      skipLibCheck: false,
      noEmit: true,
      module: 'nodenext',
      target: 'es2023',
      lib: ['es2023'],
      types: ['node'],
    };
    writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['use.ts'] }));
    writeFileSync(join(folder, 'use.ts'), program);
    return run(join(PROJECT, 'node_modules/.bin/tsc'), ['-p', '.'], folder);
  }

  const PROGRAM = `
import { buildPatchImage, inspectImage, isPatchVdiError, openImage, type BuildOptions, type ErrorKind } from 'patch-vdi';

export async function use(options: BuildOptions): Promise<number> {
  try {
    const { outputLength } = await buildPatchImage(options);
    return outputLength;
  } catch (error) {
    const kind: ErrorKind | undefined = isPatchVdiError(error) ? error.kind : undefined;
    console.log(kind);
    return 0;
  }
}

export const uses = [inspectImage, openImage];
`;

  test('compiles against the declarations, which are checked themselves', () => {
    expect(check('consumer', PROGRAM)).toEqual({ code: 0, stdout: '', stderr: '' });
  });

  test('does not if it uses them wrongly', () => {
    const { code, stdout } = check(
      'wrong-consumer',
      PROGRAM.replace('return outputLength;', 'return outputLength.length;'),
    );
    expect(stdout).toContain("Property 'length' does not exist on type 'number'");
    expect(code).not.toBe(0);
  });
});
