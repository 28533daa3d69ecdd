// Owns one run of the CLI: parses, runs the command, and turns the outcome into stderr text and an exit code.

import { systemClock } from '../clock.ts';
import { FarsideError } from '../errors.ts';
import { systemRandom } from '../random.ts';
import { withoutCephOptions } from './parse/ceph-options.ts';
import type { Command } from './command.ts';
import { loadCandidates, loadCommands } from './commands/index.ts';
import type { Terminal } from './sites/context.ts';
import { describeFailure, isUnknownCommand } from './output/failure.ts';
import { optionNames, refuseValuesOfSwitches, withOptionsLast } from './parse/leading-options.ts';
import { buildProgram, generalOptions } from './program.ts';

/** Help is given on all commands. */
const helpWords: ReadonlySet<string> = new Set(['-h', '--help']);

/** As rbd: `help info` is `info --help`, and a line without words asks for help. */
const withHelpLast = (words: readonly string[]): readonly string[] =>
  words.length === 0 || words[0] === 'help' ? [...words.slice(1), '--help'] : words;

/** Runs one command line (without `node` and the script) and resolves to its exit code. */
export async function run(given: readonly string[], terminal: Terminal): Promise<number> {
  const words = withHelpLast(given);
  try {
    if (given[0] === 'help') await checkHelp(given.slice(1));
    const candidates = words.some((word) => helpWords.has(word)) ? [] : await loadCandidates(words);
    if (candidates.length === 0 || !(await understood(candidates, words, terminal)))
      await parse(await loadCommands(), words, terminal);
    return 0;
  } catch (error) {
    const failure = describeFailure(error);
    terminal.stderr.write(failure.text);
    if (terminal.env['FARSIDE_DEBUG'] && error instanceof Error) terminal.stderr.write(`${error.stack}\n`);
    return failure.exitCode;
  }
}

/** Whether there is such a command is what scripts ask `help`. */
async function checkHelp([first]: readonly string[]): Promise<void> {
  if (first === undefined || first.startsWith('-')) return;
  const commands = await loadCommands();
  const isKnown = commands.some(({ path, aliases = [] }) =>
    path.includes(' ') ? path.startsWith(`${first} `) : [path, ...aliases].includes(first),
  );
  if (!isKnown) throw new FarsideError('EPERM', `unknown command '${first}'`);
}

/** False: it is none of these, and nothing has been done. */
async function understood(
  candidates: readonly Command[],
  words: readonly string[],
  terminal: Terminal,
): Promise<boolean> {
  try {
    await parse(candidates, words, terminal);
    return true;
  } catch (error) {
    if (isUnknownCommand(error)) return false;
    throw error;
  }
}

async function parse(commands: readonly Command[], words: readonly string[], terminal: Terminal): Promise<void> {
  const options = [...commands.flatMap((command) => Object.values(command.options)), ...Object.values(generalOptions)];
  const known = optionNames(options.map(({ flags }) => flags));
  const line = withOptionsLast(withoutCephOptions(words, new Set([...known.values, ...known.switches])), known);
  refuseValuesOfSwitches(line, known);
  await buildProgram(commands, terminal).parseAsync(line, { from: 'user' });
}

export function processTerminal(): Terminal {
  return {
    env: process.env,
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    fetch: (input, init) => fetch(input, init),
    clock: systemClock,
    random: systemRandom,
  };
}
