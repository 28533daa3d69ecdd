// Owns the lock of a site directory: at most one server runs on it. The lock names its holder by pid and start time, so a
// holder that was killed leaves a lock that the next server recognises as abandoned and takes over.
//
// Two servers that take over the same abandoned lock:
//
//   A: reads the dead lock               B: reads the dead lock
//   A: moves it aside: it is the dead    B: …
//   A: links its own: held               B: moves the lock aside: not the dead one but A's
//                                        B: links A's back, reads again: EBUSY, naming A
// Not promised: anything on a directory shared between machines.

import { linkSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { FarsideError } from '../../lib/errors.ts';
import { systemRandom } from '../../lib/random.ts';
import { identifyProcess, isRunning, readIfThere, type ProcessIdentity } from '../../lib/node/process-identity.ts';

const lockSchema = z.object({ pid: z.int().positive(), started: z.string(), nonce: z.string() });

const takeoversMax = 10;

export type SiteLock = { release(): void };

/** Takes the lock, or throws EBUSY naming the pid that holds it. */
export function lockSite(directory: string): SiteLock {
  const mine = JSON.stringify({ ...identifyProcess(process.pid), nonce: systemRandom.uuid() });
  for (let takeovers = 0; takeovers < takeoversMax; takeovers += 1) {
    if (create(directory, mine)) return { release: () => release(directory, mine) };
    const holder = lockHolder(directory);
    if (holder !== undefined)
      throw new FarsideError('EBUSY', `a server already runs on ${directory} (pid ${holder.pid})`);
    moveAside(directory);
  }
  throw new FarsideError('EBUSY', `the lock of ${directory} keeps changing hands: try again`);
}

/** The process that serves this directory now; undefined: none does. */
export function lockHolder(directory: string): ProcessIdentity | undefined {
  const lock = parseLock(readIfThere(lockPath(directory)));
  return lock !== undefined && isRunning(lock) ? { pid: lock.pid, started: lock.started } : undefined;
}

const lockPath = (directory: string): string => join(directory, 'site.lock');

/** Written aside and linked, so that nobody ever reads half a lock. */
function create(directory: string, text: string): boolean {
  const temporary = `${lockPath(directory)}.${systemRandom.uuid()}`;
  writeFileSync(temporary, text, { mode: 0o600 });
  try {
    return linkInto(temporary, lockPath(directory));
  } finally {
    rmSync(temporary, { force: true });
  }
}

function linkInto(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'EEXIST') return false;
    throw cause;
  }
}

function moveAside(directory: string): void {
  const aside = `${lockPath(directory)}.${systemRandom.uuid()}`;
  try {
    renameSync(lockPath(directory), aside);
  } catch {
    return; // somebody else moved it
  }
  const lock = parseLock(readIfThere(aside));
  if (lock !== undefined && isRunning(lock)) linkInto(aside, lockPath(directory));
  rmSync(aside, { force: true });
}

function release(directory: string, mine: string): void {
  if (readIfThere(lockPath(directory)) === mine) rmSync(lockPath(directory), { force: true });
}

function parseLock(text: string | undefined): ProcessIdentity | undefined {
  try {
    return lockSchema.parse(JSON.parse(text ?? ''));
  } catch {
    return undefined;
  }
}
