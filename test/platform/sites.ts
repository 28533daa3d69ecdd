// Starts real sites for platform tests: `farside site start --detach`, as a user would, in a home of their own. Whatever a test
// does to them, they are stopped in the end, by the pid in their directory's lock.
//
//   const sites = await startSites(['site-a', 'site-b'], { platform: 'node', tickSeconds: 1 });
//   const [a, b] = sites.all;  …  await a.farside('pool', 'create', 'rbd');  …  await sites.stop();

import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isRunning, signalProcess, type ProcessIdentity } from '../../lib/node/process-identity.ts';
import { sitePaths, type LocalPlatform } from '../../infra/local/site-directory.ts';
import { lockHolder } from '../../infra/local/site-lock.ts';
import { recordedPid } from '../../infra/local/workerd-guard.ts';
import { Bucket } from '../../lib/bucket/bucket.ts';
import { HttpDriver } from '../../lib/bucket/http.ts';
import { findSite } from '../../lib/cli/sites/registry.ts';
import { run } from '../../lib/cli/run.ts';
import { systemClock } from '../../lib/clock.ts';
import { assert } from '../../lib/errors.ts';
import { systemRandom } from '../../lib/random.ts';
import type { SiteTuning } from '../../lib/site/tuning.ts';
import { testTerminal } from '../cli/terminal.ts';

export type SitesOptions = SiteTuning & {
  platform: LocalPlatform;
  tickSeconds?: number;
  /** Further options of `site start`. */
  words?: readonly string[];
  env?: Record<string, string>;
  /** `farsideOk` runs in this process what can, in milliseconds: where commands are not what is measured. */
  runsHere?: boolean;
};

export type CommandResult = { code: number; stdout: string; stderr: string };

const farside = join(import.meta.dirname, '../../bin/farside');
const commandWaitMs = 120_000;
const outputBytesMax = 64 * 1024 * 1024;
const waitPollMs = 25;

/** Of this test process: ended with it, should a test forget. */
const started = new Set<Site>();
process.once('exit', () => {
  for (const site of started) site.killNow();
});

export class Site {
  readonly name: string;
  readonly home: string;
  readonly #options: SitesOptions;
  url = '';
  token = '';

  constructor(name: string, home: string, options: SitesOptions) {
    this.name = name;
    this.home = home;
    this.#options = options;
  }

  get directory(): string {
    return join(this.home, 'sites', this.name);
  }

  /** Also a restart: the directory, and with it the URL and the token, stays. */
  async start(): Promise<void> {
    const { platform, tickSeconds, words = [] } = this.#options;
    started.add(this);
    await this.farsideOk(
      'site',
      'start',
      '--name',
      this.name,
      '--platform',
      platform,
      '--tick-seconds',
      String(tickSeconds ?? 60),
      '--detach',
      ...words,
    );
    const registration = await findSite(this.home, this.name);
    assert(registration !== undefined, 'a started site is registered');
    this.url = registration.url;
    this.token = registration.token;
  }

  async stop(): Promise<void> {
    await this.farsideOk('site', 'stop', '--name', this.name);
    started.delete(this);
  }

  /** The server's process; undefined: it does not run. */
  server(): ProcessIdentity | undefined {
    return lockHolder(this.directory);
  }

  workerdPid(): number | undefined {
    return recordedPid(sitePaths(this.directory).workerdPid);
  }

  /** As `kill -9`, and waits until the process is gone. */
  async kill(): Promise<void> {
    const server = this.server();
    this.killNow();
    await waitUntil(() => server === undefined || !isRunning(server), `${this.name} is gone`);
  }

  killNow(): void {
    const server = this.server();
    if (server !== undefined) signalProcess(server, 'SIGKILL');
  }

  /** Runs the CLI against this site. */
  farside(...words: string[]): Promise<CommandResult> {
    return runFarside(this.home, ['--cluster', this.name, ...words], this.environment);
  }

  /** Processes are for commands that are, or start, processes, and where credentials are in the environment. */
  #canRunHere([command]: readonly string[]): boolean {
    const { runsHere = false, env } = this.#options;
    return runsHere && env === undefined && command !== 'site' && command !== 'nbd' && command !== 'device';
  }

  async #runHere(words: readonly string[]): Promise<CommandResult> {
    const env = { ...process.env, ...this.environment, FARSIDE_HOME: this.home };
    const { terminal, stdout, stderr } = testTerminal({ env, fetch });
    const code = await run(['--cluster', this.name, ...words], terminal);
    return { code, stdout: stdout.text, stderr: stderr.text };
  }

  /** Of commands against this site. */
  get environment(): Record<string, string> {
    const { env, limits, settings } = this.#options;
    return { ...env, FARSIDE_TUNING: JSON.stringify({ limits, settings }) };
  }

  /** Its standard output, trimmed; a failure throws with all that it said. */
  async farsideOk(...words: string[]): Promise<string> {
    const result = this.#canRunHere(words) ? await this.#runHere(words) : await this.farside(...words);
    if (result.code !== 0)
      throw new Error(`farside ${words.join(' ')}: exit code ${result.code}\n${result.stderr}${result.stdout}`);
    return result.stdout.trim();
  }

  /** One request to the API with the admin token. */
  fetch(path: string, init: RequestInit = {}): Promise<Response> {
    const headers = new Headers(init.headers);
    headers.set('authorization', `Bearer ${this.token}`);
    return fetch(new URL(path, this.url), { ...init, headers });
  }

  /** The site's objects, over HTTP. */
  bucket(): Bucket {
    return new Bucket(new HttpDriver({ url: this.url, token: this.token, fetch }), {
      clock: systemClock,
      random: systemRandom,
    });
  }

  log(): string {
    return readFileSync(sitePaths(this.directory).log, 'utf8');
  }
}

export type Sites = { home: string; all: Site[]; stop(): Promise<void> };

/** Options of all, or of each by its name. */
export type EachSite = SitesOptions | ((name: string) => SitesOptions);

export async function startSites(names: readonly string[], options: EachSite): Promise<Sites> {
  const home = mkdtempSync(join(tmpdir(), 'farside höme '));
  const all = names.map((name) => new Site(name, home, typeof options === 'function' ? options(name) : options));
  const stop = async (): Promise<void> => {
    await Promise.all(all.filter((site) => site.server() !== undefined).map((site) => site.stop()));
    rmSync(home, { recursive: true, force: true });
  };
  const starts = await Promise.allSettled(all.map((site) => site.start()));
  const failed = starts.find((start) => start.status === 'rejected');
  if (failed) {
    await stop();
    throw failed.reason;
  }
  return { home, all, stop };
}

export function runFarside(
  home: string,
  words: readonly string[],
  env: Record<string, string> = {},
): Promise<CommandResult> {
  return new Promise((resolve) => {
    const options = {
      env: { ...process.env, ...env, FARSIDE_HOME: home },
      timeout: commandWaitMs,
      maxBuffer: outputBytesMax,
    };
    execFile(farside, [...words], options, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
      resolve({ code, stdout, stderr });
    });
  });
}

/** Throws, naming `what`, when it does not come true in time. */
export async function waitUntil(
  isTrue: () => boolean | Promise<boolean>,
  what: string,
  waitMs = 30_000,
  pollMs = waitPollMs,
): Promise<void> {
  const startedAtMs = systemClock.nowMs();
  while (systemClock.nowMs() - startedAtMs < waitMs) {
    if (await isTrue()) return;
    await systemClock.sleep(pollMs);
  }
  throw new Error(`after ${waitMs} ms it is still not true that ${what}`);
}

/** Processes (Linux) whose command line or environment holds the text, without this one: to find what was left behind. */
export function processesWith(text: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((pid) => ['cmdline', 'environ'].some((file) => readProc(pid, file).includes(text)))
    .map(Number);
}

function readProc(pid: string, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return '';
  }
}
