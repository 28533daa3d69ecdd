// Owns running a quiesce hook: a program of the operator's, called as rbd's is, with what is attached and `quiesce` or `unquiesce`.
// It is run without a shell and ends: after `hookMs` it is killed, with all that it started.

import { spawn } from 'node:child_process';
import type { QuiesceHook } from '../attach/quiescence.ts';
import { errnoOf, FarsideError, type ErrorCode } from '../errors.ts';

export const hookMs = 30_000;
/** Kept of what it says when it fails. */
const saidBytesMax = 16 * 1024;
const shownCharsMax = 300;

/** @param name of the export, its first argument. */
export const quiesceHook =
  (program: string, name: string, limitMs = hookMs): QuiesceHook =>
  (action) =>
    runHook(program, [name, action], limitMs);

/** As rbd's: an exit status is an errno. ETIMEDOUT: killed. */
async function runHook(program: string, args: readonly string[], limitMs: number): Promise<void> {
  const what = [program, ...args].join(' ');
  // A group of its own, so that what it started is killed too, and a terminal's Ctrl-C does not end it half way.
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'], detached: true });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said = (said + text).slice(-saidBytesMax)));
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  child.once('error', (cause) =>
    reject(new FarsideError('ENOENT', `${program} cannot be run: ${cause.message}`, { cause })),
  );
  // Not `close`: something that it left running may hold its end of the pipe.
  child.once('exit', (status, signal) =>
    status === null ? reject(new FarsideError('EIO', `${what} was ended by ${signal}`)) : resolve(status),
  );
  const limit = setTimeout(() => {
    reject(new FarsideError('ETIMEDOUT', `${what} did not end within ${limitMs / 1000} s`));
    killGroup(child.pid);
  }, limitMs);
  try {
    const status = await promise;
    if (status !== 0) throw failed(what, status, said);
  } finally {
    clearTimeout(limit);
    child.stderr.destroy();
  }
}

function failed(what: string, status: number, said: string): FarsideError {
  const code = (Object.entries(errnoOf) as [ErrorCode, number][]).find(([, errno]) => errno === status)?.[0] ?? 'EIO';
  const words = said.trim().slice(-shownCharsMax);
  return new FarsideError(code, `${what} failed with ${status}${words === '' ? '' : `: ${words}`}`);
}

function killGroup(pid: number | undefined): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  } catch {
    // It has ended meanwhile.
  }
}
