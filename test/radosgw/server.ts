// Owns the booting and ending of Ceph's radosgw, a real S3 server, on a throw-away one-node store; and buckets on it.

import { execFile, execFileSync } from 'node:child_process';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';

import type { S3DriverOptions } from '../../lib/bucket/s3.ts';
import { systemRandom } from '../../lib/random.ts';

export const radosgwRegion = 'default';
const accessKeyId = 'AKTEST';
const secretAccessKey = 'SKTEST';
export const radosgwCredentials = { accessKeyId, secretAccessKey };
/** What processes need to reach it. */
export const radosgwEnv = { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey };

const bootsMax = 3;

export type S3Place = { bucket: string; region: string; endpoint: string; pathStyle: true } & Pick<
  Required<S3DriverOptions>,
  'credentials'
>;

export async function newBucket(endpoint: string): Promise<S3Place> {
  const place = {
    bucket: `farside-${systemRandom.uuid().slice(0, 18)}`,
    region: radosgwRegion,
    endpoint,
    pathStyle: true as const,
    credentials: radosgwCredentials,
  };
  const client = new S3Client({ ...place, forcePathStyle: true });
  await client.send(new CreateBucketCommand({ Bucket: place.bucket }));
  client.destroy();
  return place;
}

/** For `site start`. */
export const s3Words = ({ bucket, endpoint, region }: S3Place): string[] => [
  '--s3-bucket',
  bucket,
  '--s3-endpoint',
  endpoint,
  '--s3-region',
  region,
];

const script = (name: 'start' | 'stop'): string => join(import.meta.dirname, `${name}.sh`);
const storeIn = (folder: string): string => join(folder, 'store');

/** Its endpoint. Ended by `endRadosgw`, of the same folder. */
export async function bootRadosgw(folder: string): Promise<string> {
  for (let boot = 1; ; boot += 1) {
    const port = await choosePort();
    try {
      await promisify(execFile)(script('start'), [storeIn(folder), String(port), accessKeyId, secretAccessKey]);
      return `http://127.0.0.1:${port}`;
    } catch (cause) {
      endRadosgw(folder);
      if (boot === bootsMax) throw cause;
    }
  }
}

/** At once: also for a process that is about to end. Repeating it does nothing. */
export function endRadosgw(folder: string): void {
  execFileSync(script('stop'), [storeIn(folder)]);
}

/** The first of a block of ports below those that outgoing connections get, and that local sites draw from. */
async function choosePort(): Promise<number> {
  for (;;) {
    const port = 10_000 + 100 * Math.floor(systemRandom.fraction() * 95);
    if (await isFree(port)) return port;
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
