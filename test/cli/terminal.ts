// A terminal for tests: collects what is printed, and has no network unless it is given one.

import { Readable, Writable } from 'node:stream';
import { systemClock } from '../../lib/clock.ts';
import type { Terminal } from '../../lib/cli/sites/context.ts';
import { systemRandom } from '../../lib/random.ts';

class Collector extends Writable {
  readonly parts: Buffer[] = [];
  isTTY = false;
  override _write(chunk: Uint8Array, _encoding: string, done: () => void): void {
    this.parts.push(Buffer.from(chunk));
    done();
  }
  get bytes(): Buffer {
    return Buffer.concat(this.parts);
  }
  get text(): string {
    return this.bytes.toString();
  }
}

export type TestTerminal = { terminal: Terminal; stdout: Collector; stderr: Collector };

export function testTerminal(
  options: { env?: NodeJS.ProcessEnv; stdin?: Uint8Array; fetch?: typeof fetch; isTTY?: boolean } = {},
): TestTerminal {
  const stdout = new Collector();
  const stderr = new Collector();
  stderr.isTTY = options.isTTY ?? false;
  const terminal: Terminal = {
    env: options.env ?? { FARSIDE_HOME: '/nonexistent/farside' },
    stdin: Readable.from(options.stdin ? [options.stdin] : []),
    stdout,
    stderr,
    fetch: options.fetch ?? (() => Promise.reject(new Error('this test has no network'))),
    clock: systemClock,
    random: systemRandom,
  };
  return { terminal, stdout, stderr };
}
