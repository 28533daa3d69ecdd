// Owns the one S3 server of a run of vitest: booted by the first file that asks (server.ts), ended by test/radosgw/global.ts,
// whatever becomes of the run.

import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { inject } from 'vitest';

import { systemClock } from '../../lib/clock.ts';
import { requireTool } from '../require.ts';
import { bootRadosgw, newBucket, type S3Place } from './server.ts';

const bootWaitMs = 240_000;
const pollMs = 200;

/** False (and one line says why) where its programs are missing. */
export const hasRadosgw = (): boolean =>
  ['radosgw', 'ceph-mon', 'ceph-osd', 'ceph'].every((program) => requireTool(program));

/** A new bucket on this run's server, which the first caller boots. */
export async function freshS3(): Promise<S3Place> {
  return newBucket(await sharedEndpoint(inject('radosgwFolder')));
}

/** Test files run in processes of their own: the folder is where they meet. */
async function sharedEndpoint(folder: string): Promise<string> {
  const ready = join(folder, 'endpoint');
  const failed = join(folder, 'failed');
  if (claim(join(folder, 'booting'))) {
    try {
      const endpoint = await bootRadosgw(folder);
      writeFileSync(`${ready}.new`, endpoint);
      renameSync(`${ready}.new`, ready);
    } catch (cause) {
      writeFileSync(failed, String(cause));
    }
  }
  for (let waitedMs = 0; waitedMs < bootWaitMs; waitedMs += pollMs) {
    if (existsSync(ready)) return readFileSync(ready, 'utf8');
    if (existsSync(failed)) throw new Error(`radosgw does not boot: ${readFileSync(failed, 'utf8')}`);
    await systemClock.sleep(pollMs);
  }
  throw new Error(`radosgw is not up after ${bootWaitMs} ms`);
}

function claim(folder: string): boolean {
  try {
    mkdirSync(folder);
    return true;
  } catch {
    return false;
  }
}
