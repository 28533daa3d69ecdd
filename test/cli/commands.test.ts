// The command tree: every command can be found, explained and told apart.

import type { Command as Node } from 'commander';
import { describe, expect, test } from 'vitest';
import { loadCandidates, loadCommands } from '../../lib/cli/commands/index.ts';
import { buildProgram, generalOptions } from '../../lib/cli/program.ts';
import { testTerminal } from './terminal.ts';

const commands = await loadCommands();

const { terminal } = testTerminal();
const root = buildProgram(commands, terminal);

function findNode(path: string): Node {
  return path.split(' ').reduce((node, word) => node.commands.find((one) => one.name() === word)!, root);
}

function nodes(node: Node): Node[] {
  return [node, ...node.commands.flatMap(nodes)];
}

const flagsOf = (flags: string): string[] => flags.match(/--?[a-zA-Z][\w-]*/g) ?? [];

describe('commands', () => {
  test('paths are unique, and none but trash purge is the group of another, as in rbd', () => {
    const paths = commands.map((command) => command.path);
    expect(new Set(paths).size).toBe(paths.length);
    for (const path of paths.filter((one) => one !== 'trash purge'))
      expect(
        paths.filter((other) => other.startsWith(`${path} `)),
        path,
      ).toEqual([]);
  });

  test.each(commands.map((command) => [command.path, command] as const))(
    'the words of %s, and its aliases, load it',
    async (path, command) => {
      const group = path.split(' ').slice(0, -1);
      for (const last of [path.split(' ').at(-1)!, ...(command.aliases ?? [])])
        expect(await loadCandidates(['-p', 'rbd', ...group, '--format', 'json', last, 'vm-1'])).toContain(command);
    },
  );

  test('few others are loaded with it', async () => {
    expect((await loadCandidates(['snap', 'ls', 'vm-1'])).map(({ path }) => path)).toEqual(['list', 'snap list']);
  });

  test('a group that lies beneath a command is loaded too, or its name would be an argument of that command', async () => {
    const paths = (await loadCandidates(['trash', 'purge', 'schedule'])).map(({ path }) => path);
    expect(paths).toContain('trash purge schedule list');
    expect((await loadCandidates(['trash', 'purge', 'rbd'])).map(({ path }) => path)).toEqual(['trash purge']);
  });

  test('names and aliases beside each other are unique', () => {
    for (const node of nodes(root)) {
      const names = node.commands.flatMap((one) => [one.name(), ...one.aliases()]);
      expect(new Set(names).size, node.name()).toBe(names.length);
    }
  });

  test('every group says what it is for', () => {
    for (const node of nodes(root).filter((one) => one.commands.length > 0))
      expect(node.description(), node.name()).not.toBe('');
  });

  test.each(commands.map((command) => [command.path, command] as const))(
    '%s: has help with an example that begins with it',
    (path, command) => {
      const node = findNode(path);
      const help = node.helpInformation();
      expect(help).toContain(`Usage: farside ${path}`);
      expect(help).toContain('--cluster');
      expect(command.summary).toMatch(/^[a-z].*[^.]$/);
      expect(command.examples.length).toBeGreaterThan(0);
      const words = [
        path,
        ...(command.aliases ?? []).map((alias) => [...path.split(' ').slice(0, -1), alias].join(' ')),
      ];
      const called = (example: string): boolean =>
        words.some((one) => example.includes('farside ') && ` ${example} `.includes(` ${one} `));
      for (const example of command.examples) expect(called(example), example).toBe(true);
    },
  );

  test.each(commands.map((command) => [command.path, command] as const))(
    '%s: no two options clash, nor with the general ones',
    (_, command) => {
      const all = [...Object.values(generalOptions), ...Object.values(command.options)].flatMap((option) =>
        flagsOf(option.flags.replace(/<.*>/, '')),
      );
      expect(new Set(all).size).toBe(all.length);
    },
  );

  test.each(commands.map((command) => [command.path, command] as const))(
    '%s: its examples parse',
    async (_, command) => {
      for (const words of exampleWords(command.examples))
        await expect(parses(words), words.join(' ')).resolves.toBe(true);
    },
  );
});

/** The words of each farside command in the examples, without redirections. */
const exampleWords = (examples: readonly string[]): string[][] =>
  examples
    .flatMap((line) => line.split('|'))
    .flatMap((line) => /farside (.*)$/.exec(line)?.[1] ?? [])
    .map((line) =>
      line
        .replace(/ > \S+$/, '')
        .trim()
        .split(' '),
    );

/** Parses the words with every handler replaced by nothing. */
async function parses(words: string[]): Promise<boolean> {
  const inert = commands.map((command) => ({ ...command, run: async () => {} }));
  await buildProgram(inert, testTerminal().terminal).parseAsync(words, { from: 'user' });
  return true;
}
