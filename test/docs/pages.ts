import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';

export const REPOSITORY = resolve(import.meta.dirname, '../..');

/** A page of Markdown, by its path in the repository. */
export interface Page {
  readonly path: string;
  readonly text: string;
}

const FOLDERS = ['.', 'docs', 'native-tools', 'fixtures/ext', 'fixtures/plans', 'fixtures/vhd'];

/** Every page of the repository. */
export function allPages(): Page[] {
  return FOLDERS.flatMap((folder) =>
    readdirSync(join(REPOSITORY, folder))
      .filter((name) => name.endsWith('.md'))
      .map((name) => join(folder, name))
      .map((path) => ({ path, text: readFileSync(join(REPOSITORY, path), 'utf8') })),
  );
}

/** A fenced block: its language (or none), its text, the number of its first line. */
export interface Block {
  readonly language: string;
  readonly text: string;
  readonly line: number;
}

export function blocksOf(text: string): Block[] {
  return [...text.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].map((match) => ({
    language: match[1] ?? '',
    text: match[2] ?? '',
    line: text.slice(0, match.index).split('\n').length + 1,
  }));
}

/** A page without its fenced blocks. */
function proseOf(text: string): string {
  return text.replaceAll(/^```\w*\n[\s\S]*?^```$/gm, '');
}

/** What stands in `backticks`. */
export function codeSpans(text: string): string[] {
  return [...proseOf(text).matchAll(/`([^`\n]+(?:\n[^`\n]+)?)`/g)].map((match) =>
    (match[1] ?? '').replaceAll('\n', ' '),
  );
}

/** The anchors of a page, as GitHub makes them of its headings. */
export function anchorsOf(text: string): string[] {
  const seen = new Map<string, number>();
  return [...proseOf(text).matchAll(/^#{1,6} (.+)$/gm)].map((match) => {
    const slug = (match[1] ?? '')
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(' ', '-');
    const count = seen.get(slug) ?? 0;
    seen.set(slug, count + 1);
    return count === 0 ? slug : `${slug}-${count}`;
  });
}

/** Relative links and pictures that lead nowhere: `page: link`. */
export function deadLinks(
  pages: readonly Page[],
  exists: (path: string) => boolean,
  read: (path: string) => string,
): string[] {
  return pages.flatMap(({ path, text }) => {
    const links = [
      ...proseOf(text)
        .replaceAll(/`[^`\n]+`/g, '')
        .matchAll(/\]\(([^)\s]+)\)/g),
    ];
    return links.flatMap((match) => {
      const link = match[1] ?? '';
      if (/^(?:https?:|mailto:)/.test(link)) return [];
      const [file = '', anchor] = link.split('#');
      const target = file === '' ? path : relative('.', join(dirname(path), file));
      if (!exists(target)) return [`${path}: ${link}`];
      const isDead = anchor !== undefined && !anchorsOf(read(target)).includes(anchor);
      return isDead ? [`${path}: ${link}`] : [];
    });
  });
}
