// `farside nbd serve` as a process of its own, for tests: started on a Unix socket, ended by its pid.

import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { CommandResult, Site } from './sites.ts';
import { waitUntil } from './sites.ts';

const farside = join(import.meta.dirname, '../../bin/farside');
const running = new Set<ChildProcess>();
/** What a test that failed has left. A worker of the test runner may be killed itself, and then sees no exit: call it after the last test. */
export function killServed(): void {
  for (const child of running) child.kill('SIGKILL');
}
process.once('exit', killServed);

/** A site, or another name under which one is registered. */
export type ServedSite = Pick<Site, 'name' | 'home' | 'environment'>;

/** `words`: further options. Without `socket` they say where it listens. */
export type ServeOptions = { images: readonly string[]; socket?: string; words?: readonly string[] };

export class NbdProcess {
  readonly #child: ChildProcess;
  readonly #ended: Promise<CommandResult>;
  stdout = '';
  stderr = '';
  /** By export, as it was announced. */
  readonly uris = new Map<string, string>();

  private constructor(child: ChildProcess) {
    this.#child = child;
    running.add(child);
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (this.stdout += text));
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.stderr += text));
    this.#ended = once(child, 'close').then(([code]) => {
      running.delete(child);
      return { code: typeof code === 'number' ? code : -1, stdout: this.stdout, stderr: this.stderr };
    });
  }

  /** Resolves when every image is served, or throws what it said when it ended before. */
  static async start(site: ServedSite, { images, socket, words = [] }: ServeOptions): Promise<NbdProcess> {
    const where = socket === undefined ? [] : ['--unix', socket];
    const line = ['--cluster', site.name, 'nbd', 'serve', ...images, ...where, ...words];
    const served = new NbdProcess(
      spawn(farside, line, {
        env: { ...process.env, ...site.environment, FARSIDE_HOME: site.home },
        stdio: ['ignore', 'pipe', 'pipe'],
      }),
    );
    await waitUntil(() => served.#hasStarted(images.length), `${images.join(', ')} is served`);
    return served;
  }

  #hasStarted(imageCount: number): boolean {
    if (this.#child.exitCode !== null) throw new Error(`nbd serve ended: ${this.stderr}${this.stdout}`);
    for (const [, name, uri] of this.stdout.matchAll(/^(\S+) is served \(.*\): (\S+)$/gm)) this.uris.set(name!, uri!);
    return this.uris.size === imageCount;
  }

  get pid(): number {
    return this.#child.pid!;
  }

  uri(name: string): string {
    const found = this.uris.get(name);
    if (found === undefined) throw new Error(`${name} is not served: ${[...this.uris.keys()].join(', ')}`);
    return found;
  }

  /** As an operator would. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<CommandResult> {
    this.#child.kill(signal);
    return await this.#ended;
  }

  /** Ends by itself. */
  ended(): Promise<CommandResult> {
    return this.#ended;
  }
}
