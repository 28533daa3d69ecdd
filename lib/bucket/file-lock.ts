// Owns mutual exclusion between the processes that use one FileDriver directory. It is the kernel's lock on a byte of a
// file (fcntl), reached through `node:sqlite`, since Node itself offers no file lock. The kernel releases it when the holder
// dies, however it dies, so there is nothing stale to detect. The work is synchronous and takes well under a millisecond.
// The lock file must stay where it is while any process runs, on a file system whose locks work (not every NFS).

import { DatabaseSync } from 'node:sqlite';

import { FarsideError } from '../errors.ts';

/** A holder keeps the lock for a few system calls; only a suspended one keeps it for so long. */
const waitMaxMs = 5_000;
const sqliteBusy = 5;

export class FileLock {
  readonly #path: string;
  #database: DatabaseSync | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  /** Runs `work` alone among all holders in all processes. Blocks this thread while it waits; EAGAIN after five seconds. */
  hold<T>(work: () => T): T {
    this.#database ??= new DatabaseSync(this.#path, { timeout: waitMaxMs });
    this.#acquire(this.#database);
    try {
      return work();
    } finally {
      this.#database.exec('ROLLBACK');
    }
  }

  #acquire(database: DatabaseSync): void {
    try {
      database.exec('BEGIN IMMEDIATE');
    } catch (cause) {
      if ((cause as { errcode?: number }).errcode !== sqliteBusy) throw cause;
      const message = `another process has held the lock '${this.#path}' for ${waitMaxMs} ms: is it suspended?`;
      throw new FarsideError('EAGAIN', message, { retry: 'later', cause });
    }
  }
}
