// docs/invariants.md names symbols and tests; they must exist, and the table of planted bugs must be the one that is run.

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

import { plantedBugs } from './planted-bugs.ts';

const root = join(import.meta.dirname, '..', '..');
const read = (path: string): string => (existsSync(join(root, path)) ? readFileSync(join(root, path), 'utf8') : '');
const text = read('docs/invariants.md');

const matches = (pattern: RegExp): [string, string][] =>
  [...text.matchAll(pattern)].map((match) => [match[1]!, match[2]!]);

test('every symbol of docs/invariants.md is in the file that it names', () => {
  const symbols = matches(/`(\w+)` in `([\w/.-]+\.ts)`/g);
  expect(symbols.length).toBeGreaterThan(20);
  expect(symbols.filter(([symbol, path]) => !new RegExp(`\\b${symbol}\\b`).test(read(path)))).toEqual([]);
});

test('every test of docs/invariants.md is in the file that it names', () => {
  const tests = matches(/`([\w/.-]+\.test\.ts)`: \*([^*]+)\*/g);
  expect(tests.length).toBeGreaterThan(15);
  expect(tests.filter(([path, name]) => !read(path).includes(name))).toEqual([]);
});

test('the planted bugs of docs/invariants.md are those that are run', () => {
  const rows = matches(/^\| (I\d+) \| ([a-z][^|`*]+) \|$/gm);
  expect(rows).toEqual(plantedBugs.map(({ invariant, name }) => [invariant, name]));
});
