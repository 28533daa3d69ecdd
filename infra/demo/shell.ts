// Owns how the demo runs commands: it shows each as a user would type it, runs the real thing, and stops at the first failure.

import { spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { fileURLToPath } from 'node:url';

const cli = fileURLToPath(new URL('../../bin/farside', import.meta.url));

export type Shell = {
  /** Says what happens next, in one line. */
  step: (text: string) => void;
  /** Shows and runs `farside …`; answers its standard output. */
  farside: (args: readonly string[], options?: { stdoutTo?: string; quiet?: boolean }) => Promise<string>;
  /** Runs another program; undefined when it is not installed. */
  tool: (command: string, args: readonly string[]) => Promise<{ code: number; output: string } | undefined>;
  say: (text: string) => void;
};

export function demoShell(home: string, directory: string): Shell {
  let steps = 0;
  const env = { ...process.env, FARSIDE_HOME: home };
  const say = (text: string): void => console.log(`   ${text}`);
  return {
    say,
    step: (text) => console.log(`\n${++steps}. ${text}`),
    farside: async (args, options = {}) => {
      const shown = args.map((arg) => (arg.startsWith(directory) ? arg.slice(directory.length + 1) : arg)).map(quoted);
      if (!options.quiet)
        console.log(
          `   $ farside ${shown.join(' ')}${options.stdoutTo ? ` > ${options.stdoutTo.slice(directory.length + 1)}` : ''}`,
        );
      const { code, stdout, stderr } = await run(cli, args, env, options.stdoutTo);
      if (code !== 0) throw new Error(`farside ${args.join(' ')} ended with exit code ${code}\n${stderr}`);
      return stdout;
    },
    tool: async (command, args) => {
      const path = `${process.env['PATH']}:/usr/sbin:/sbin`;
      const done = await run(command, args, { ...env, PATH: path }).catch((error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT') return undefined;
        throw error;
      });
      return done && { code: done.code, output: done.stdout + done.stderr };
    },
  };
}

const quoted = (arg: string): string => (/^[\w./:@=-]+$/.test(arg) ? arg : `'${arg}'`);

type Done = { code: number; stdout: string; stderr: string };

function run(command: string, args: readonly string[], env: NodeJS.ProcessEnv, stdoutTo?: string): Promise<Done> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    let stdout = '';
    let stderr = '';
    if (stdoutTo) child.stdout.pipe(createWriteStream(stdoutTo, { mode: 0o600 }));
    else child.stdout.on('data', (data: Buffer) => (stdout += data.toString()));
    child.stderr.on('data', (data: Buffer) => (stderr += data.toString()));
    child.on('error', reject);
    child.on('close', (code) => resolve({ code: code ?? 1, stdout, stderr }));
  });
}
