// Documents that cannot rot quietly: command lines parse, paths exist, links resolve, tables are complete.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import type { Command as Node } from 'commander';
import { describe, expect, test } from 'vitest';
import { loadCommands } from '../lib/cli/commands/index.ts';
import { buildProgram } from '../lib/cli/program.ts';
import { testTerminal } from './cli/terminal.ts';
import { startedSite } from './site/started-site.ts';

const commands = await loadCommands();

const root = join(import.meta.dirname, '..');
const documents = [
  'README.md',
  'ARCHITECTURE.md',
  'CHANGELOG.md',
  ...readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
].toSorted();

const read = (path: string): string => readFileSync(join(root, path), 'utf8');

type Block = { language: string; lines: string[] };

/** The fenced code blocks of a document. Lines that end in a backslash are joined with the next. */
function blocksOf(text: string): Block[] {
  return [...text.matchAll(/^```(\w*)\n(.*?)^```$/gms)].map((match) => ({
    language: match[1]!,
    lines: match[2]!.replaceAll(/\\\n\s*/g, '').split('\n'),
  }));
}

const prose = (text: string): string => text.replaceAll(/^```.*?^```$/gms, '');

/** The words of every farside command of a line, which may be a pipeline with redirections. Comments are left out. */
function commandWords(line: string): string[][] {
  return line
    .replace(/\s#\s.*$/, '')
    .split(/\||&&|;|\$\(/)
    .map((part) => /^\s*(?:\$ )?(?:[A-Z_]+=\S* )*(?:bin\/)?farside( .*|$)/.exec(part)?.[1])
    .filter((rest) => rest !== undefined)
    .map((rest) => wordsOf(rest.replaceAll(/\s[<>]\s*\S+/g, '').replace(/\)\s*$/, '')));
}

const wordsOf = (text: string): string[] =>
  [...text.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map((match) => match[1] ?? match[2] ?? match[3]!);

const inert = commands.map((command) => ({ ...command, run: async () => {} }));
const program = (): Node => buildProgram(inert, testTerminal().terminal);

/** What is wrong with a command line; empty when nothing is. */
async function faultOf(words: readonly string[]): Promise<string> {
  try {
    await program().parseAsync([...words], { from: 'user' });
    return '';
  } catch (error) {
    const code = (error as { code?: string }).code ?? '';
    return ['commander.helpDisplayed', 'commander.version'].includes(code) ? '' : String(error);
  }
}

const shellLines = (document: string): string[] =>
  blocksOf(read(document))
    .filter(({ language }) => ['', 'sh', 'console'].includes(language))
    .flatMap(({ lines }) => lines);

describe('command lines', () => {
  test.each(documents)('%s: every farside command line parses', async (document) => {
    const faults: string[] = [];
    for (const line of shellLines(document)) {
      for (const words of commandWords(line)) {
        const fault = await faultOf(words);
        if (fault) faults.push(`${line.trim()}: ${fault}`);
      }
    }
    expect(faults).toEqual([]);
  });

  test('a line with an unknown command, option or too many words does not parse', async () => {
    for (const words of [
      ['mirror', 'image', 'enabel'],
      ['snap', 'ls', '--al', 'x'],
      ['rm', 'a', 'b'],
      ['mirror', 'image'],
    ])
      expect(await faultOf(words), words.join(' ')).not.toBe('');
  });

  test('README shows commands at all, and how to begin', () => {
    const lines = shellLines('README.md');
    expect(lines.flatMap(commandWords).length).toBeGreaterThan(20);
    expect(lines).toContain('npm ci && npm run demo');
    expect(lines).toContain('npm ci && npm test');
  });

  test('the table of commands in README is the list of commands', () => {
    const rows = [...read('README.md').matchAll(/^\| `farside ([^`]+)` \| (.+) \|$/gm)].map(
      (row) => `${row[1]} | ${row[2]}`,
    );
    const expected = commands.map(({ path, summary }) => {
      const node = path.split(' ').reduce((at, word) => at.commands.find((one) => one.name() === word)!, program());
      const usage = `${[path, ...node.aliases()].join('|')} ${node.usage()}`.trim();
      return `${usage.replaceAll('|', '\\|')} | ${summary}`;
    });
    expect(rows.toSorted()).toEqual(expected.toSorted());
  });
});

/** Paths from the root that a document names in backticks: `lib/…`, `test/…`; a part after an ellipsis is left out. */
function namedPaths(text: string): string[] {
  const named = [
    ...prose(text).matchAll(/`((?:lib|functions|infra|test|docs|bin|\.ci)\/[\w./-]*|[\w.-]+\.(?:md|toml))`/g),
  ];
  return named.map((match) => match[1]!).filter((path) => !path.endsWith('-'));
}

/** The tree of ARCHITECTURE.md: a folder at the margin, its files indented, several to a line, before two spaces or the end. */
function treePaths(text: string): string[] {
  const tree = blocksOf(text).find(({ lines }) => lines.some((line) => line.startsWith('lib/ ')))!;
  let folder = '';
  return tree.lines
    .filter((line) => line !== '')
    .flatMap((line) => {
      const names = line.trim().split(/ {2,}/)[0]!.split(' ');
      if (!line.startsWith(' ')) folder = names[0]!.endsWith('/') ? names[0]! : '';
      const files = names.filter((name) => /^[\w.-]+\.(?:ts|sh)$/.test(name) || name === 'farside');
      return line.startsWith(' ') ? files.map((name) => folder + name) : [names[0]!];
    });
}

describe('paths and links', () => {
  test.each(documents)('%s: every path that it names exists', (document) => {
    const missing = namedPaths(read(document)).filter(
      (path) => !existsSync(join(root, path)) && !existsSync(join(root, 'docs', path)),
    );
    expect(missing).toEqual([]);
  });

  test.each(documents)('%s: every relative link resolves', (document) => {
    const links = [...prose(read(document)).matchAll(/\]\(([^)#]+)(?:#[^)]*)?\)/g)].map((match) => match[1]!);
    const broken = links
      .filter((link) => !/^https?:/.test(link))
      .filter((link) => !existsSync(join(root, normalize(join(dirname(document), link)))));
    expect(broken).toEqual([]);
  });

  test('the tree of ARCHITECTURE.md names only what exists', () => {
    const paths = treePaths(read('ARCHITECTURE.md'));
    expect(paths.length).toBeGreaterThan(80);
    expect(paths.filter((path) => !existsSync(join(root, path)))).toEqual([]);
  });

  test('the tree of ARCHITECTURE.md has every folder of the product', () => {
    const named = new Set(treePaths(read('ARCHITECTURE.md')));
    const folders = ['lib', 'functions', 'infra'].flatMap((folder) =>
      readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isDirectory())
        .map((entry) => `${join(entry.parentPath, entry.name).slice(root.length + 1)}/`),
    );
    expect(folders.filter((folder) => !named.has(folder))).toEqual([]);
  });
});

describe('HTTP', () => {
  test('the routes in ARCHITECTURE.md are those of the OpenAPI document', async () => {
    const site = await startedSite();
    const { paths } = (await site.ok('GET', '/openapi.json', undefined, null)).json as {
      paths: Record<string, object>;
    };
    const served = Object.entries(paths).flatMap(([path, item]) =>
      Object.keys(item).map((method) => `${method.toUpperCase()} ${path}`),
    );
    const list = blocksOf(read('ARCHITECTURE.md'))
      .find(({ lines }) => lines[0]!.startsWith('public '))!
      .lines.join(' ');
    const named = [...list.matchAll(/((?:(?:GET|POST|PUT|PATCH|DELETE) )+)(\/\S+)/g)].flatMap((match) =>
      match[1]!
        .trim()
        .split(' ')
        .map((method) => `${method} ${match[2]!}`),
    );
    expect(named.filter((route) => route !== 'GET /openapi.json').toSorted()).toEqual(served.toSorted());
  });

  test('README calls only routes that exist', async () => {
    const site = await startedSite();
    const { paths } = (await site.ok('GET', '/openapi.json', undefined, null)).json as {
      paths: Record<string, object>;
    };
    const patterns = [...Object.keys(paths), '/openapi.json'].map(
      (path) => new RegExp(`^${path.replaceAll(/\{[^}]+\}/g, '[^/]+')}$`),
    );
    const called = shellLines('README.md')
      .filter((line) => line.includes('curl '))
      .map((line) => /\$[A-Z_]+(\/[^\s"'?]*)/.exec(line)?.[1] ?? '');
    expect(called.length).toBeGreaterThan(3);
    expect(called.filter((path) => !patterns.some((pattern) => pattern.test(path)))).toEqual([]);
  });
});
