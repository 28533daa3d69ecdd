// Rules of style that no linter holds. Each rule says what to write instead; a file that breaks one is named with its line.

import { readdirSync, readFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';

const root = join(import.meta.dirname, '..');
const sourceFolders = ['lib', 'functions', 'infra', 'test', 'bin'];
const linesMax = 400;

type SourceFile = { path: string; text: string };

type Rule = {
  name: string;
  /** What to write instead. */
  instead: string;
  /** Files that the rule is about. */
  covers: (path: string) => boolean;
  pattern: RegExp;
};

const isTest = (path: string): boolean => path.startsWith('test/');
const isDemo = (path: string): boolean => path.startsWith('infra/demo/');
const isCore = (path: string): boolean =>
  /^lib\/(?:image|stream|mirror|site|bucket|cli|nbd|[a-z]+\.ts$)|^functions\/|^infra\//.test(path);
const isInner = (path: string): boolean => /^lib\/(?:image|stream|mirror)\//.test(path);
const isNbd = (path: string): boolean => path.startsWith('lib/nbd/');
/** Those that know of sockets. */
const isNbdEdge = (path: string): boolean => /^lib\/nbd\/(?:server|listen|socket-channel)\.ts$/.test(path);
const isProduct = (path: string): boolean => !isTest(path) && path.endsWith('.ts');

const rules: Rule[] = [
  {
    name: 'system time',
    instead: 'take a Clock (lib/clock.ts) as a parameter and ask clock.nowMs()',
    covers: (path) => isCore(path) && !isDemo(path) && path !== 'lib/clock.ts',
    pattern: /\bDate\.now\b|\bnew Date\(\s*\)|\bperformance\.now\b/,
  },
  {
    name: 'randomness',
    instead: 'take a Random (lib/random.ts) as a parameter',
    covers: (path) => isCore(path) && !isDemo(path) && path !== 'lib/random.ts',
    pattern: /\bMath\.random\b|\brandomUUID\b|\bgetRandomValues\b|\brandomBytes\b/,
  },
  {
    name: 'waiting on the system clock',
    instead: 'take a Clock and await clock.sleep()',
    covers: (path) => /^lib\/(?:image|mirror|site|bucket)\//.test(path),
    pattern: /\bsetTimeout\(|\bsetInterval\(/,
  },
  {
    name: 'an arrow that points outward',
    instead:
      'lib/image, lib/stream and lib/mirror are called by site, cli, functions and infra: take what is needed as a parameter',
    covers: isInner,
    pattern: /from '(?:\.\.\/)+(?:site|cli|functions|infra)\//,
  },
  {
    name: 'mirroring in the storage engine',
    instead: 'lib/image and lib/stream are called by lib/mirror: take what is needed as a parameter',
    covers: (path) => /^lib\/(?:image|stream)\//.test(path),
    pattern: /from '(?:\.\.\/)+mirror\//,
  },
  {
    name: 'a platform in the core',
    instead:
      'of Node only node:crypto, node:zlib and node:buffer, of packages only zod and pure ones; the rest through deps',
    covers: isInner,
    pattern:
      /from '(?:node:(?!crypto'|zlib'|buffer')|cloudflare:|@cloudflare\/|@aws-sdk\/|hono|@hono\/|miniflare|wrangler|commander|esbuild)/,
  },
  {
    name: 'a driver in the core',
    instead: 'take a Bucket as a parameter',
    covers: (path) => isInner(path) || path.startsWith('lib/site/'),
    pattern: /from '.*\/bucket\/(?:memory|file|r2|http|s3)\.ts'/,
  },
  {
    name: 'what is behind a Device, in the NBD protocol',
    instead: 'take a Device or an ExportSource (lib/nbd/device.ts) as a parameter',
    covers: isNbd,
    pattern: /from '\.\.\/(?!errors\.ts')/,
  },
  {
    name: 'a socket in the NBD protocol',
    instead: 'take a Channel (lib/nbd/channel.ts); server.ts, listen.ts and socket-channel.ts know of sockets',
    covers: (path) => isNbd(path) && !isNbdEdge(path),
    pattern: /from 'node:|\bsetTimeout\(/,
  },
  {
    name: 'a key outside keys.ts',
    instead: 'build it with lib/bucket/keys.ts, which also parses it back',
    covers: (path) => isProduct(path) && path !== 'lib/bucket/keys.ts',
    pattern: /['`](?:images|pools|status)\/|['`]site\.json['`]/,
  },
  {
    name: 'a path of one machine',
    instead: 'derive it from import.meta.dirname, the environment or an option',
    covers: () => true,
    pattern: /['"`(\s](?:\/root\/|\/work\/|\/home\/\w+\/|\/Users\/\w+\/)/,
  },
  {
    name: 'an unfinished note',
    instead: 'file an issue, or do it',
    covers: (path) => path !== 'test/tidy.test.ts',
    pattern: /\b(?:TODO|FIXME|XXX|HACK)\b/,
  },
];

const vagueName = /(?:^|[-.])(?:utils?|helpers?|impl|base|manager)(?:[-.]|$)/i;

function listFiles(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && /\.(?:ts|sh)$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1))
    .filter((path) => !path.includes('node_modules/'));
}

function findBreaches(file: SourceFile, rule: Rule): string[] {
  return file.text
    .split('\n')
    .map((line, index) => ({ line, place: `${file.path}:${index + 1}` }))
    .filter(({ line }) => rule.pattern.test(line))
    .map(({ line, place }) => `${place}: ${rule.name}; instead: ${rule.instead}\n    ${line.trim()}`);
}

const files: SourceFile[] = sourceFolders
  .flatMap(listFiles)
  .map((path) => ({ path, text: readFileSync(join(root, path), 'utf8') }));

/** Which folders of lib/mirror a file's folder imports from; those at its top are all of theirs. */
function arrowsOf({ path, text }: SourceFile): string[] {
  const [, from] = /^lib\/mirror\/([a-z]+)\//.exec(path) ?? [];
  const to = [...text.matchAll(/from '\.\.\/([a-z]+)\/[^']*'/g)].map(([, folder]) => folder);
  return from === undefined ? [] : to.map((folder) => `${from} -> ${folder}`);
}

describe('tidy', () => {
  test('no two folders of lib/mirror import from each other: what both need is at its top', () => {
    const arrows = new Set(files.flatMap(arrowsOf));
    expect(arrows).toContain('replica -> primary');
    expect([...arrows].filter((arrow) => arrows.has(arrow.split(' -> ').toReversed().join(' -> ')))).toEqual([]);
  });

  test.each(rules)('$name is found nowhere', (rule) => {
    const breaches = files.filter(({ path }) => rule.covers(path)).flatMap((file) => findBreaches(file, rule));
    expect(breaches.join('\n')).toBe('');
  });

  test.each(rules)('$name is a rule that looks at some file', (rule) => {
    expect(files.filter(({ path }) => rule.covers(path)).length).toBeGreaterThan(0);
  });

  test('no file is named after nothing: utils, helpers, Impl, Base, Manager', () => {
    const vague = files
      .filter(({ path }) => vagueName.test(path.split('/').at(-1) ?? ''))
      .map(({ path }) => `${path}: name it after the one thing it owns`);
    expect(vague).toEqual([]);
  });

  test(`no file of the product is longer than ${linesMax} lines`, () => {
    const long = files
      .filter(({ path }) => !isTest(path))
      .map(({ path, text }) => ({ path, lineCount: text.split('\n').length }))
      .filter(({ lineCount }) => lineCount > linesMax)
      .map(({ path, lineCount }) => `${path}: ${lineCount} lines; move one idea to a file of its own`);
    expect(long).toEqual([]);
  });

  test('every file of the product begins by saying what it owns', () => {
    const silent = files
      .filter(({ path, text }) => isProduct(path) && !/^(?:#!.*\n)?\/[/*]/.test(text))
      .map(({ path }) => `${path}: begin with a comment`);
    expect(silent).toEqual([]);
  });

  test('Node can take the types out of every file of the product: its parser is not the one that tests run on', () => {
    const refused = files
      .filter(({ path }) => isProduct(path))
      .flatMap(({ path, text }) => {
        try {
          stripTypeScriptTypes(text);
          return [];
        } catch (error) {
          return [`${path}: ${String(error)}`];
        }
      });
    expect(refused).toEqual([]);
  });
});
