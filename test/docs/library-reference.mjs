// npm run docs: writes the reference part of docs/library.md from src/index.ts, everything below its marker line.
//
//   npm run docs                                    writes it
//   node test/docs/library-reference.mjs --check    compares, type-checks the page's examples; exit 1 and the faults
//
// test/docs/library.test.ts runs the second one; --root FOLDER is for its sabotage cases.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { Node, Project, SyntaxKind } from 'ts-morph';

const check = process.argv.includes('--check');
const rootAt = process.argv.indexOf('--root');
const root = rootAt === -1 ? resolve(import.meta.dirname, '../..') : resolve(process.argv[rootAt + 1]);
const page = join(root, 'docs/library.md');
const entry = join(root, 'src/index.ts');
const MARKER =
  '<!-- Made by `npm run docs` from src/index.ts: edit the docstrings there, not what follows. -->';

/** The order of the chapters, and which rooms are in them. */
const CHAPTERS = [
  { title: 'Building', rooms: ['build', 'tools'] },
  { title: 'Plans', rooms: ['plan'] },
  { title: 'Looking into images', rooms: ['inspect', 'ext', 'bytes.ts', 'findings.ts', 'finding-codes.ts'] },
  { title: 'Signatures', rooms: ['signature'] },
  { title: 'Applying', rooms: ['host'] },
  { title: 'Places', rooms: ['io'] },
  { title: 'Errors', rooms: ['errors.ts'] },
];

const project = new Project({
  compilerOptions: {
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    target: 9, // ES2022
    module: 199, // NodeNext
    moduleResolution: 99,
    lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts'],
    types: ['node'],
    typeRoots: [resolve(import.meta.dirname, '../../node_modules/@types')],
    skipLibCheck: true,
    noEmit: true,
    paths: { 'patch-vdi': [entry] },
  },
  skipAddingFilesFromTsConfig: true,
});

const LINK = /\{@link (\w+)\}/g;
const faults = [];

/** The docstring of a declaration as text, its tags as a list. */
function docOf(declaration) {
  const holder = Node.isVariableDeclaration(declaration) ? declaration.getVariableStatement() : declaration;
  const docs = holder?.getJsDocs?.() ?? [];
  const text = docs
    .map((doc) => doc.getDescription().trim())
    .join('\n\n')
    .replaceAll(LINK, '`$1`');
  const tags = docs
    .flatMap((doc) => doc.getTags())
    .map((tag) => {
      const comment = (tag.getCommentText() ?? '')
        .replaceAll(/\s*\n\s*/g, ' ')
        .replaceAll(LINK, '`$1`')
        .trim();
      const name = Node.isJSDocParameterTag(tag) ? ` \`${tag.getName()}\`` : '';
      return `- ${tag.getTagName() === 'param' ? 'parameter' : tag.getTagName()}${name}: ${comment}`;
    });
  return { text, tags };
}

/** The comment of a member, as it stands in the source, and the member without its body. */
function memberText(member) {
  const comment =
    member.getJsDocs?.().map((doc) => `${doc.getText().replaceAll(/\n\s*/g, '\n   ')}\n  `) ?? [];
  const bare = member.getText();
  const body = member.getBody?.();
  const text = body ? bare.slice(0, body.getStart() - member.getStart()).trimEnd() + ';' : bare;
  return `  ${comment.join('')}${text}`;
}

function withDoc(type) {
  return [...type.getJsDocs().map((doc) => doc.getText()), typeText(type)].join('\n');
}

function isPublic(member) {
  const isInternal = member
    .getJsDocs()
    .some((doc) => doc.getTags().some((tag) => tag.getTagName() === 'internal'));
  return !isInternal && !member.hasModifier('private') && !member.getName?.().startsWith('#');
}

function classText(declaration) {
  const members = declaration.getMembers().filter(isPublic);
  const base = declaration.getExtends()?.getText();
  return [
    `class ${declaration.getName()}${base ? ` extends ${base}` : ''} {`,
    ...members.map(memberText),
    '}',
  ].join('\n');
}

/** An interface or type as it stands there; a list of names taken from a table is written out. */
function typeText(declaration) {
  const text = declaration.getText().replace(/^export /, '');
  if (!Node.isTypeAliasDeclaration(declaration) || !/\(typeof /.test(text)) return text;
  const names = declaration
    .getType()
    .getUnionTypes()
    .map((type) => type.getText());
  return `type ${declaration.getName()} = ${names.join(' | ')};`;
}

function signatureText(declaration) {
  if (Node.isClassDeclaration(declaration)) return classText(declaration);
  if (Node.isFunctionDeclaration(declaration)) {
    const body = declaration.getBody();
    const end = body ? body.getStart() - declaration.getStart() : undefined;
    return `${declaration
      .getText()
      .slice(0, end)
      .replace(/^export /, '')
      .trimEnd()};`;
  }
  if (Node.isVariableDeclaration(declaration)) return `const ${declaration.getText()};`;
  return typeText(declaration);
}

/** Types of this project that a declaration names and src/index.ts does not export: they are shown with it. */
function privateTypes(declaration, seen) {
  const names = declaration.getDescendantsOfKind(SyntaxKind.TypeReference).map((node) => node.getTypeName());
  const bases = declaration.getDescendantsOfKind(SyntaxKind.ExpressionWithTypeArguments);
  return [...names, ...bases.map((node) => node.getExpression())].flatMap((name) => {
    const symbol = name.getSymbol()?.getAliasedSymbol() ?? name.getSymbol();
    const [target] = symbol?.getDeclarations() ?? [];
    const isType = Node.isInterfaceDeclaration(target) || Node.isTypeAliasDeclaration(target);
    const isOurs = target?.getSourceFile().getFilePath().startsWith(join(root, 'src/'));
    if (!isType || !isOurs || seen.has(target)) return [];
    seen.add(target);
    return [target, ...privateTypes(target, seen)];
  });
}

/** Of a function only its head counts, of a class what is not private. */
function headOf(declaration) {
  if (Node.isClassDeclaration(declaration)) {
    const members = declaration.getMembers().filter(isPublic);
    return members.flatMap((member) => (Node.isMethodDeclaration(member) ? headOf(member) : [member]));
  }
  if (!Node.isFunctionDeclaration(declaration) && !Node.isMethodDeclaration(declaration))
    return [declaration];
  const result = declaration.getReturnTypeNode();
  return [...declaration.getParameters(), ...(result ? [result] : [])];
}

function isCallable(declaration) {
  return Node.isFunctionDeclaration(declaration) || Node.isClassDeclaration(declaration);
}

/** A number whose unit neither its name nor a comment tells. */
function unitFaults(name, declaration) {
  if (!Node.isInterfaceDeclaration(declaration)) return;
  for (const property of declaration.getProperties()) {
    const type = property.getTypeNode()?.getText() ?? '';
    if (!/^(number|bigint)( \| undefined)?$/.test(type)) continue;
    const documented = property.getJsDocs().length > 0;
    const unit =
      /(bytes|seconds|count|size|number|inodes?|blocks?|offset|length|index|mode|uid|gid|perGroup)$/i;
    if (!documented && !unit.test(property.getName())) {
      faults.push(`${name}.${property.getName()}: a number without docstring, and no unit in its name`);
    }
  }
}

function section(name, declaration, seen) {
  const { text, tags } = docOf(declaration);
  const file = relative(root, declaration.getSourceFile().getFilePath());
  if (text === '') faults.push(`${name} (${file}): no docstring`);
  unitFaults(name, declaration);
  const beside = headOf(declaration).flatMap((part) => privateTypes(part, seen));
  const code = [signatureText(declaration), ...beside.map((type) => withDoc(type))].join('\n\n');
  const parts = [`### ${name}`, text, tags.join('\n'), `\`\`\`ts\n${code}\n\`\`\``];
  return [...parts.filter((part) => part !== ''), `From \`${file}\`.`].join('\n\n');
}

/** Links, in lines of 120 columns at most. */
function wrapped(links) {
  const lines = [''];
  links.forEach((link, position) => {
    const text = position === links.length - 1 ? link : `${link},`;
    const line = lines.at(-1);
    if (line === '') lines[lines.length - 1] = text;
    else if (line.length + 1 + text.length > 120) lines.push(text);
    else lines[lines.length - 1] = `${line} ${text}`;
  });
  return lines.join('\n');
}

function reference() {
  const index = project.addSourceFileAtPath(entry);
  project.resolveSourceFileDependencies();
  const exported = [...index.getExportedDeclarations()].map(([name, [declaration]]) => {
    const room = relative(join(root, 'src'), declaration.getSourceFile().getFilePath()).split('/')[0];
    const chapter = CHAPTERS.findIndex(({ rooms }) => rooms.includes(room));
    if (chapter === -1) faults.push(`${name}: its room ${room} is in no chapter of library-reference.mjs`);
    return { name, declaration, chapter };
  });
  const seen = new Set(exported.map(({ declaration }) => declaration));
  const lines = [
    MARKER,
    '## Reference',
    'All sizes and offsets are bytes unless a name or a comment says otherwise.',
  ];
  CHAPTERS.forEach(({ title }, chapter) => {
    const own = exported.filter((one) => one.chapter === chapter);
    if (own.length === 0) return;
    // What is called first, then the types, by name.
    own.sort((a, b) => isCallable(b.declaration) - isCallable(a.declaration) || (a.name < b.name ? -1 : 1));
    lines.push(`## ${title}`, wrapped(own.map(({ name }) => `[${name}](#${name.toLowerCase()})`)));
    lines.push(...own.map(({ name, declaration }) => section(name, declaration, seen)));
  });
  return `${lines.join('\n\n')}\n`;
}

/** Every example of the hand-written part must compile against the source. */
function checkExamples(head) {
  const examples = [...head.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map((match) => match[1]);
  if (examples.length === 0) faults.push('docs/library.md: no example before the marker');
  examples.forEach((text, position) => {
    const file = project.createSourceFile(join(root, `src/example-${position}.mts`), text);
    for (const diagnostic of file.getPreEmitDiagnostics()) {
      const words = diagnostic.getMessageText();
      const message = typeof words === 'string' ? words : words.getMessageText();
      faults.push(`docs/library.md: example ${position + 1}, line ${diagnostic.getLineNumber()}: ${message}`);
    }
  });
}

const old = readFileSync(page, 'utf8');
const markerAt = old.indexOf(MARKER);
if (markerAt === -1) faults.push('docs/library.md: the marker line is missing');
const head = markerAt === -1 ? old : old.slice(0, markerAt);
const oxfmt = resolve(import.meta.dirname, '../../node_modules/.bin/oxfmt');
const made = execFileSync(process.execPath, [oxfmt, '--stdin-filepath', 'docs/library.md'], {
  cwd: resolve(import.meta.dirname, '../..'),
  input: head + reference(),
  encoding: 'utf8',
});
if (check) {
  checkExamples(head);
  if (made !== old) {
    const line = made.split('\n').findIndex((text, position) => text !== old.split('\n')[position]);
    faults.push(`docs/library.md: not what the source gives, from line ${line + 1}: run npm run docs`);
  }
} else if (markerAt !== -1) writeFileSync(page, made);
for (const fault of faults) console.log(fault);
if (faults.length > 0) process.exitCode = 1;
