// Owns the start of a server in the background: a process of its own session that writes to the directory's log, and the wait
// until it is ready or has failed.

import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync, readFileSync, renameSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Clock } from '../../lib/clock.ts';
import { FarsideError } from '../../lib/errors.ts';
import { createSiteDirectory, sitePaths } from './site-directory.ts';

const pollMs = 25;
const readyWaitMs = 90_000;
const logBytesMax = 8 * 1024 * 1024;
const tailLinesMax = 20;

export type Detach = {
  directory: string;
  /** Words of the foreground command line. */
  words: string[];
  env: NodeJS.ProcessEnv;
  clock: Clock;
  /** Whether the server of this pid answers. */
  isReady(pid: number): Promise<boolean>;
};

/** Resolves to the pid of a server that answers. EIO with the end of its log: it did not come up, and does not run. */
export async function startDetached(detach: Detach): Promise<number> {
  createSiteDirectory(detach.directory);
  const logPath = sitePaths(detach.directory).log;
  const logStart = openLog(logPath);
  const child = spawnServer(detach, logPath);
  const failed = new Promise<'failed'>((resolve) => {
    for (const event of ['exit', 'error']) child.once(event, () => resolve('failed'));
  });
  for (let waitedMs = 0; waitedMs < readyWaitMs; waitedMs += pollMs) {
    if (child.pid !== undefined && (await detach.isReady(child.pid))) return release(child);
    if ((await Promise.race([detach.clock.sleep(pollMs), failed])) === 'failed') break;
  }
  child.kill('SIGKILL');
  throw new FarsideError('EIO', `the site did not start; the end of ${logPath} says:\n${tail(logPath, logStart)}`);
}

function spawnServer({ directory, words, env }: Detach, logPath: string): ChildProcess {
  const log = openSync(logPath, 'a', 0o600);
  try {
    const main = fileURLToPath(new URL('../../lib/cli/main.ts', import.meta.url));
    return spawn(process.execPath, [main, ...words], {
      cwd: directory,
      env,
      detached: true,
      stdio: ['ignore', log, log],
    });
  } finally {
    closeSync(log);
  }
}

function release(child: ChildProcess): number {
  child.removeAllListeners();
  child.unref();
  return child.pid ?? 0;
}

/** Keeps one former log of bounded size. Returns where this start's lines begin. */
function openLog(path: string): number {
  closeSync(openSync(path, 'a', 0o600));
  const { size } = statSync(path);
  if (size <= logBytesMax) return size;
  renameSync(path, `${path}.1`);
  return 0;
}

function tail(path: string, fromByte: number): string {
  const lines = readFileSync(path).subarray(fromByte).toString('utf8').trimEnd().split('\n');
  return lines.slice(-tailLinesMax).join('\n');
}
