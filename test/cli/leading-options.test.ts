// Options before the words of a command.

import { expect, test } from 'vitest';
import { loadCommands } from '../../lib/cli/commands/index.ts';
import { optionNames, withOptionsLast } from '../../lib/cli/parse/leading-options.ts';
import { generalOptions } from '../../lib/cli/program.ts';

const commands = await loadCommands();
const allFlags = [...commands.flatMap(({ options }) => Object.values(options)), ...Object.values(generalOptions)].map(
  ({ flags }) => flags,
);
const names = optionNames(allFlags);
const moved = (line: string): string => withOptionsLast(line.split(' '), names).join(' ');

test.each([
  ['--dest vm-2 import disk.img', 'import disk.img --dest vm-2'],
  ['--cluster=a --dest vm-2 -p x import disk.img', 'import disk.img --cluster=a --dest vm-2 -p x'],
  ['-s 1 create vm-1', 'create vm-1 -s 1'],
  ['--force --no-progress mirror image promote vm-1', 'mirror image promote vm-1 --force --no-progress'],
  ['-p x image-meta set vm-1 -- --odd 3', 'image-meta set vm-1 -p x -- --odd 3'],
])('%s', (line, after) => {
  expect(moved(line)).toBe(after);
});

test('a line that begins with its command, that is options only, or that begins with what nobody knows stays', () => {
  for (const line of ['ls --format json', '--help', '--version', '--cluster a', '--unheard of ls', '-- ls'])
    expect(moved(line)).toBe(line);
});

test('an option has a value in every command that knows it, or in none', () => {
  expect([...names.values].filter((name) => names.switches.has(name))).toEqual([]);
});
