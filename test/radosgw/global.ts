// Owns the end of the S3 server that a run of vitest may have booted (radosgw.ts): a guard waits for the end of this process,
// however it comes, and then ends the daemons and removes their folder.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import type { TestProject } from 'vitest/node';

declare module 'vitest' {
  interface ProvidedContext {
    radosgwFolder: string;
  }
}

const guardScript = 'read -r _; "$1" "$2/store"; rm -rf "$2"';

export function setup(project: TestProject): () => Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'farside-radosgw-'));
  project.provide('radosgwFolder', folder);
  const stop = join(import.meta.dirname, 'stop.sh');
  const guard = spawn('/bin/sh', ['-c', guardScript, 'guard', stop, folder], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  });
  guard.unref();
  return async () => {
    const ended = once(guard, 'exit');
    guard.stdin?.end();
    await ended;
  };
}
