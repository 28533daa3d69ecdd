// Owns the writers of crash tests that are processes of their own: started ahead, so that a kill does not wait for one, and ended
// by SIGKILL.

import { build } from 'esbuild';
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { systemClock } from '../../lib/clock.ts';
import type { WriterTask } from './crash-image.ts';

/** One file starts several times faster than its many parts. */
export async function bundleWriter(directory: string): Promise<string> {
  const outfile = join(directory, 'crash-writer.mjs');
  await build({
    entryPoints: [join(import.meta.dirname, 'crash-writer.ts')],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    logLevel: 'error',
    banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
  });
  return outfile;
}

/** What a writer said was flushed, by image. */
export type Flushed = ReadonlyMap<string, number>;

export class CrashWriters {
  readonly #file: string;
  #next: ReturnType<typeof start>;

  constructor(file: string) {
    this.#file = file;
    this.#next = start(file);
  }

  /** Runs a writer, and kills it so long after it has flushed something for the first time. `meanwhile` is told when it is dead. */
  async killed(
    task: WriterTask,
    afterMs: number,
    meanwhile?: (isDead: () => boolean) => Promise<void>,
  ): Promise<Flushed> {
    const { child, ended, said, told } = this.#next;
    this.#next = start(this.#file);
    let isDead = false;
    const watching = meanwhile?.(() => isDead);
    watching?.catch(() => {}); // thrown below
    child.stdin.write(JSON.stringify(task));
    await Promise.race([once(child.stdout, 'data'), ended]);
    await systemClock.sleep(afterMs);
    child.kill('SIGKILL');
    const [, signal] = await ended;
    isDead = true;
    await watching;
    if (signal !== 'SIGKILL') throw new Error(`the writer ended by itself:\n${said.join('')}`);
    return flushedOf(told.join(''));
  }

  end(): void {
    this.#next.child.kill('SIGKILL');
  }
}

type Started = {
  child: ChildProcessByStdio<Writable, Readable, Readable>;
  ended: Promise<[number | null, string | null]>;
  told: string[];
  said: string[];
};

function start(file: string): Started {
  const child = spawn(process.execPath, ['--no-warnings', file], { stdio: ['pipe', 'pipe', 'pipe'] });
  const ended = once(child, 'close') as Promise<[number | null, string | null]>;
  child.stdin.on('error', () => {}); // it is told by how the process ends
  const [told, said]: [string[], string[]] = [[], []];
  child.stdout.setEncoding('utf8').on('data', (text: string) => told.push(text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => said.push(text));
  return { child, ended, told, said };
}

function flushedOf(told: string): Flushed {
  const lines = told.split('\n').filter((line) => /^\S+ \d+$/.test(line));
  return new Map(lines.map((line) => line.split(' ')).map(([image, seq]) => [image!, Number(seq)]));
}
