// Owns one run of the CLI: parses, runs the command, and turns the outcome into stderr text and an exit code.

import { systemClock } from '../clock.ts';
import { systemRandom } from '../random.ts';
import { withoutCephOptions } from './ceph-options.ts';
import { commands } from './commands/index.ts';
import type { Terminal } from './context.ts';
import { describeFailure } from './failure.ts';
import { buildProgram } from './program.ts';

const knownOptions: ReadonlySet<string> = new Set(
  commands.flatMap(({ options }) => Object.values(options).flatMap(({ flags }) => flags.match(/--[a-z-]+/g) ?? [])),
);

/** Runs one command line (without `node` and the script) and resolves to its exit code. */
export async function run(words: readonly string[], terminal: Terminal): Promise<number> {
  try {
    await buildProgram(commands, terminal).parseAsync(withoutCephOptions(words, knownOptions), { from: 'user' });
    return 0;
  } catch (error) {
    const failure = describeFailure(error);
    terminal.stderr.write(failure.text);
    if (terminal.env['FARSIDE_DEBUG'] && error instanceof Error) terminal.stderr.write(`${error.stack}\n`);
    return failure.exitCode;
  }
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
