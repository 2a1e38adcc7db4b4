import { chmodSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { dirname, join } from 'node:path';
import { defineConfig } from 'rolldown';

/**
 * The JavaScript of the package: the command line and the library, with every npm package bundled in, so that an
 * installed patch-vdi has no dependencies. The reason is start-up: `import 'execa'` takes 85 ms from node_modules
 * and 20 ms from a bundle (measured). Dynamic imports stay lazy, each in its own chunk.
 *
 * The type declarations come from tsc (tsconfig.build.json).
 */

const projectFolder = import.meta.dirname;
const outputFolder = join(projectFolder, 'dist');
const CLI_ENTRY = 'cli/main';

/** What may be inside an MIT package; anything else needs a decision, so it fails the build. */
const ALLOWED_LICENCES = new Set(['MIT', 'ISC', 'BSD-2-Clause', 'BSD-3-Clause', 'Apache-2.0', '0BSD']);
const LICENCE_FILE = /^(licen[cs]e|copying|notice)([-.].*)?$/i;

/** Packages under the MIT licence, as their manifest and README say, that forgot to ship its text. */
const WITHOUT_LICENCE_FILE = new Set(['@nodable/entities']);

/** The licence as the Open Source Initiative has it, in the name of the author whom the manifest names. */
function mitText({ name, license, author }) {
  const holder = typeof author === 'string' ? author : author?.name;
  if (license !== 'MIT' || holder === undefined) throw new Error(`${name}: no MIT licence, or nobody's`);
  return `MIT License

Copyright (c) ${holder}

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
`;
}

/** The folder and manifest of the npm package that a module id belongs to, or undefined for our own modules. */
function packageOf(moduleId) {
  // The bundler's own helper functions are copied into the output too, under a virtual id.
  const path = moduleId.startsWith('\0rolldown/')
    ? join(projectFolder, 'node_modules/rolldown/package.json')
    : moduleId.replace(/^\0/, '').replace(/\?.*$/, '');
  if (!path.includes('/node_modules/')) return undefined;
  for (let folder = dirname(path); !folder.endsWith('/node_modules'); folder = dirname(folder)) {
    const manifest = readManifest(folder);
    // Packages put a package.json without a name into sub-folders, to say that they are ES modules.
    if (manifest?.name !== undefined && manifest.version !== undefined) return { folder, manifest };
  }
  throw new Error(`no package.json with a name above ${moduleId}`);
}

function readManifest(folder) {
  try {
    return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  } catch (error) {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Name, version, licence and licence text of one bundled package. Throws if it may not be shipped. */
function licenceOf({ folder, manifest }) {
  const title = `${manifest.name} ${manifest.version}`;
  if (!ALLOWED_LICENCES.has(manifest.license)) {
    const found = JSON.stringify(manifest.license) ?? 'none';
    throw new Error(`${title} may not be bundled: licence ${found}, not ${[...ALLOWED_LICENCES].join(', ')}`);
  }
  if (WITHOUT_LICENCE_FILE.has(manifest.name))
    return { title, text: `${title} (${manifest.license})\n\n${mitText(manifest)}` };
  const files = readdirSync(folder).filter((name) => LICENCE_FILE.test(name));
  if (!files.some((name) => !/^notice/i.test(name))) {
    throw new Error(`${title} may not be bundled: no licence file in ${folder}`);
  }
  const texts = files.toSorted().map((name) => readFileSync(join(folder, name), 'utf8').trim());
  return { title, text: `${title} (${manifest.license})\n\n${texts.join('\n\n')}\n` };
}

/** Writes THIRD-PARTY-LICENSES.txt: the notices that the licences of the bundled packages ask for. */
function thirdPartyLicences() {
  return {
    name: 'third-party-licences',
    generateBundle(_options, bundle) {
      const byTitle = new Map();
      for (const chunk of Object.values(bundle)) {
        for (const moduleId of chunk.moduleIds ?? []) {
          const found = packageOf(moduleId);
          if (found === undefined) continue;
          const { title, text } = licenceOf(found);
          byTitle.set(title, text);
        }
      }
      const titles = [...byTitle.keys()].toSorted((a, b) => (a < b ? -1 : 1));
      const texts = titles.map((title) => byTitle.get(title));
      const head = 'patch-vdi contains code of these packages. Their licences:\n\n';
      const source = head + texts.join(`\n${'-'.repeat(80)}\n\n`);
      this.emitFile({ type: 'asset', fileName: 'THIRD-PARTY-LICENSES.txt', source });
    },
  };
}

/** An import that is neither ours nor Node's would fail only on the user's machine: it fails here instead. */
function nothingLeftOutside() {
  return {
    name: 'nothing-left-outside',
    generateBundle(_options, bundle) {
      for (const chunk of Object.values(bundle)) {
        for (const name of [...(chunk.imports ?? []), ...(chunk.dynamicImports ?? [])]) {
          if (!(name in bundle) && !isBuiltin(name))
            this.error(`${chunk.fileName} imports ${name} from outside`);
        }
      }
    },
  };
}

/**
 * tsc writes declarations of every module, and leaves those of modules that are gone. Only what the library's door
 * leads to is of use to anybody: the rest goes.
 */
function reachableDeclarations() {
  return {
    name: 'reachable-declarations',
    writeBundle() {
      const waiting = [join(outputFolder, 'index.d.ts')];
      const reached = new Set(waiting);
      for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
        for (const [, name] of readFileSync(path, 'utf8').matchAll(
          /\b(?:from|import)\s*\(?\s*'(\.[^']*)\.js'/g,
        )) {
          const next = join(dirname(path), `${name}.d.ts`);
          if (!reached.has(next)) waiting.push(next);
          reached.add(next);
        }
      }
      for (const name of readdirSync(outputFolder, { recursive: true })) {
        const path = join(outputFolder, name);
        if (name.endsWith('.d.ts') && !reached.has(path)) rmSync(path);
      }
    },
  };
}

/** Makes the command line's file a program: one shebang on its first line, and the executable bit. */
function executableEntry() {
  return {
    name: 'executable-entry',
    renderStart() {
      // Chunk names carry a hash: those of the last build would be packed with the new ones.
      rmSync(join(outputFolder, 'chunks'), { recursive: true, force: true });
    },
    generateBundle(_options, bundle) {
      for (const chunk of Object.values(bundle)) {
        if (chunk.type !== 'chunk') continue;
        const code = chunk.code.replace(/^#!.*\n/, '');
        chunk.code = chunk.isEntry && chunk.name === CLI_ENTRY ? `#!/usr/bin/env node\n${code}` : code;
      }
    },
    writeBundle(options) {
      chmodSync(join(options.dir, `${CLI_ENTRY}.js`), 0o755);
    },
  };
}

// oxlint-disable-next-line import/no-default-export -- rolldown reads the default export
export default defineConfig({
  cwd: projectFolder,
  input: { [CLI_ENTRY]: 'src/cli/main.ts', index: 'src/index.ts' },
  platform: 'node',
  transform: { target: 'node20.19' },
  plugins: [thirdPartyLicences(), nothingLeftOutside(), reachableDeclarations(), executableEntry()],
  output: {
    dir: outputFolder,
    format: 'esm',
    entryFileNames: '[name].js',
    chunkFileNames: 'chunks/[name]-[hash].js',
    // What nearly every command needs, in one file: cut along what `serve` and `pool` share with the others it would be
    // fifteen, which cost a start 12 ms (measured). What is loaded rarely stays out.
    codeSplitting: {
      groups: [
        {
          name: 'core',
          test: /\/src\/(?:build|inspect|io|plan|signature|ext|vhd|tools)\/(?!zip-|http-source|http-sink|http-reader)/,
        },
      ],
    },
    // Names stay, so stack traces can be read without a source map; white space goes: start-up is a tenth shorter
    // (measured).
    minify: { compress: false, mangle: false, codegen: { removeWhitespace: true } },
    minifyInternalExports: false,
    sourcemap: false,
  },
});
