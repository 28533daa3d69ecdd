// A user's shell: command lines as they are typed. A plain one of farside (or, in recordings, of rbd) runs in this process, which
// takes milliseconds; one with a pipe, a redirection or another program in it is given to bash.

import { execFile } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../../lib/cli/run.ts';
import { systemClock, type Clock } from '../../lib/clock.ts';
import { testTerminal } from './terminal.ts';

export type Said = { exitCode: number; stdout: string; stderr: string };

export type ShellOptions = {
  /** FARSIDE_HOME. */
  home: string;
  /** Where commands run; made when it is not there. */
  folder: string;
  clock?: Clock;
  /** More functions of bash. */
  functions?: string;
};

const main = join(import.meta.dirname, '../../lib/cli/main.ts');
const forBash = /[|;&<>'"$(]/;
const commandWaitMs = 120_000;

export class Shell {
  readonly #options: ShellOptions;
  readonly #env: NodeJS.ProcessEnv;

  constructor(options: ShellOptions) {
    this.#options = options;
    this.#env = { ...process.env, FARSIDE_HOME: options.home, TZ: 'UTC' };
    mkdirSync(options.folder, { recursive: true });
  }

  async run(line: string): Promise<Said> {
    const [program, ...words] = line.split(' ');
    const isOurs = program === 'farside' || program === 'rbd';
    return isOurs && !forBash.test(line) ? await this.#runHere(words) : await this.#runInBash(line);
  }

  async #runHere(words: readonly string[]): Promise<Said> {
    const { terminal, stdout, stderr } = testTerminal({ env: this.#env, fetch });
    const before = process.cwd();
    process.chdir(this.#options.folder);
    try {
      const exitCode = await run(words, { ...terminal, clock: this.#options.clock ?? systemClock });
      return { exitCode, stdout: stdout.text, stderr: stderr.text };
    } finally {
      process.chdir(before);
    }
  }

  #runInBash(line: string): Promise<Said> {
    const functions = `farside() { '${process.execPath}' '${main}' "$@"; }\nrbd() { farside "$@"; }\n${this.#options.functions ?? ''}`;
    const options = { env: this.#env, cwd: this.#options.folder, timeout: commandWaitMs };
    return new Promise((resolve) => {
      execFile('bash', ['-c', `${functions}\n${line}`], options, (error, stdout, stderr) =>
        resolve({ exitCode: typeof error?.code === 'number' ? error.code : error ? -1 : 0, stdout, stderr }),
      );
    });
  }
}
