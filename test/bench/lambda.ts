// What an invocation of the Lambda consumer takes while it copies an initial sync between two sites on Ceph's S3: memory and time.
// site-b runs in this process, one batch at a time, as a function's sandbox does; its garbage is collected before every sample.

import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startAwsSite } from '../../infra/local/aws-site.ts';
import { choosePort, loopback } from '../../infra/local/free-port.ts';
import { systemRandom as random } from '../../lib/random.ts';
import { startSites, type Site } from '../platform/sites.ts';
import { bootRadosgw, newBucket, radosgwEnv, s3Words, stopRadosgw } from '../radosgw/server.ts';
import { MiB } from './content.ts';
import { syncAndSample } from './memory.ts';
import type { Figure } from './report.ts';

const imageBytes = 512 * MiB;
/** What a function has at least beside what Node and the SDKs take (about 130 MiB). */
const memoryMiBMax = 256;
/** The longest that Lambda gives is 900. */
const invocationSecondsMax = 450;

export async function lambdaConsumer(): Promise<Figure[]> {
  const directory = mkdtempSync(join(tmpdir(), 'farside-lambda-'));
  Object.assign(process.env, radosgwEnv);
  const endpoint = await bootRadosgw(directory);
  try {
    return await measure(directory, endpoint);
  } finally {
    await stopRadosgw(directory);
    rmSync(directory, { recursive: true, force: true });
  }
}

async function measure(directory: string, endpoint: string): Promise<Figure[]> {
  const [first, second] = [await newBucket(endpoint), await newBucket(endpoint)];
  const words = [...s3Words(first), '--s3-direct'];
  const sites = await startSites(['site-a'], { platform: 'aws', tickSeconds: 3600, words, env: radosgwEnv });
  const adminToken = random.uuid();
  const port = await choosePort(random);
  const url = `http://${loopback}:${port}`;
  const config = {
    name: 'site-b',
    url,
    platform: 'aws',
    adminTokenHash: createHash('sha256').update(adminToken).digest('hex'),
    secret: randomBytes(32).toString('base64'),
  };
  const { bucket, region } = second;
  const s3 = { bucket, region, endpoint, pathStyle: true, direct: true };
  const invocationsMs: number[] = [];
  const running = await startAwsSite(
    { directory, port, config, s3, log: () => {} },
    { batchesAtOnce: 1, invoked: (durationMs) => invocationsMs.push(durationMs) },
  );
  try {
    const b: Pick<Site, 'name' | 'fetch'> = {
      name: 'site-b',
      fetch: (path, init) =>
        fetch(new URL(path, url), {
          ...init,
          headers: { ...(init?.headers as Record<string, string>), authorization: `Bearer ${adminToken}` },
        }),
    };
    const used = await syncAndSample({ a: sites.all[0]!, b, directory, imageBytes });
    const longestSeconds = Math.max(...invocationsMs) / 1000;
    return figures(used, longestSeconds, invocationsMs.length);
  } finally {
    await running.stop();
    await sites.stop();
  }
}

const figures = (usedBytes: number, longestSeconds: number, invocationCount: number): Figure[] => [
  {
    name: 'Lambda consumer, memory beyond idle',
    value: usedBytes / MiB,
    unit: 'MiB',
    atMost: memoryMiBMax,
    note: `heap and buffers in use during an initial sync of ${imageBytes / MiB} MiB on S3, batches of at most 10 one after the other; the process has ${(process.memoryUsage.rss() / MiB).toFixed(0)} MiB resident`,
  },
  {
    name: 'Lambda consumer, longest invocation',
    value: longestSeconds,
    unit: 's',
    atMost: invocationSecondsMax,
    note: `of ${invocationCount}; Lambda ends one after 900 s`,
  },
];
