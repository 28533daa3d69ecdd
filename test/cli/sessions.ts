// Sessions of an operator with two real sites in this process, whose clock the test owns: command lines in, what they said
// and their exit codes out.

import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect } from 'vitest';
import { registerSite } from '../../lib/cli/sites/registry.ts';
import { run } from '../../lib/cli/run.ts';
import { adminToken, type TestSite } from '../site/harness.ts';
import { TestNetwork } from '../site/network.ts';
import { testTerminal } from './terminal.ts';

type Result = { exitCode: number; stdout: string; stderr: string; bytes: Buffer };
export type Step = readonly [line: string, said?: string, exitCode?: number];

const uuids = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g;

function holdsNoSecret(text: string): void {
  expect(text).not.toContain(adminToken);
}

function answered(line: string, result: Result, { said, exitCode }: { said: string; exitCode: number }): void {
  const text = (result.stdout + result.stderr).replaceAll(uuids, '<uuid>');
  expect({ line, exitCode: result.exitCode, text }).toEqual({ line, exitCode, text: said });
}

export class Sessions {
  readonly network: TestNetwork;
  /** FARSIDE_HOME, and a place for files: `$home` in command lines. */
  readonly home: string;
  readonly #sites = new Map<string, TestSite>();

  private constructor(network: TestNetwork, home: string) {
    this.network = network;
    this.home = home;
  }

  static async start(siteNames: readonly string[] = ['site-a', 'site-b']): Promise<Sessions> {
    const sessions = new Sessions(new TestNetwork(), await mkdtemp(join(tmpdir(), 'farside-session-')));
    for (const name of siteNames) {
      sessions.#sites.set(name, sessions.network.add(name));
      await registerSite(sessions.home, { name, url: `https://${name}.test`, token: adminToken, platform: 'test' });
    }
    return sessions;
  }

  end(): Promise<void> {
    return rm(this.home, { recursive: true });
  }

  site = (name: string): TestSite => this.#sites.get(name)!;

  farside = async (line: string, stdin?: Uint8Array): Promise<Result> => {
    const { terminal, stdout, stderr } = testTerminal({
      env: { FARSIDE_HOME: this.home },
      fetch: this.network.fetch,
      ...(stdin ? { stdin } : {}),
    });
    const words = line
      .replaceAll('$home', this.home)
      .split(' ')
      .map((word) => (word === "''" ? '' : word));
    const exitCode = await run(words, terminal);
    holdsNoSecret(stdout.text + stderr.text);
    return { exitCode, stdout: stdout.text, stderr: stderr.text, bytes: stdout.bytes };
  };

  /** Runs each line and compares what it said; `<uuid>` stands for any. A step without text expects silence and success. */
  session = async (steps: readonly Step[]): Promise<void> => {
    for (const [line, said = '', exitCode = 0] of steps) {
      const result = await this.farside(line);
      answered(line, result, { said, exitCode });
    }
  };

  /** Pool `rbd` of site-a mirrored to site-b. */
  pairSites = async (): Promise<void> => {
    await this.session([
      ['--cluster site-a pool create rbd'],
      ['--cluster site-b pool create rbd'],
      ['--cluster site-a mirror pool enable --site-name site-a rbd image'],
    ]);
    const { stdout } = await this.farside('--cluster site-a mirror pool peer bootstrap create rbd');
    await writeFile(join(this.home, 'token'), stdout);
    await this.session([['--cluster site-b mirror pool peer bootstrap import --site-name site-b rbd $home/token']]);
  };
}

/** Sites of their own for each test of the file, or of the group that calls this. */
export function eachWithSessions(): Pick<Sessions, 'farside' | 'session'> & { current: () => Sessions } {
  let sessions: Sessions;
  beforeEach(async () => {
    sessions = await Sessions.start();
  });
  afterEach(() => sessions.end());
  return {
    current: () => sessions,
    farside: (line, stdin) => sessions.farside(line, stdin),
    session: (steps) => sessions.session(steps),
  };
}

/** Bytes that compress badly, the same for the same seed. */
export const content = (seed: string, byteCount: number): Buffer => {
  const parts: Buffer[] = [];
  for (let bytes = 0; bytes < byteCount; bytes += 32)
    parts.push(createHash('sha256').update(`${seed} ${bytes}`).digest());
  return Buffer.concat(parts).subarray(0, byteCount);
};
