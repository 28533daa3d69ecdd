// What an invocation of the Lambda consumer takes while it copies an initial sync between two sites on Ceph's S3: memory and time.
// site-b runs in this process, one batch at a time, as a function's sandbox does.
//
// Memory is measured twice, of two syncs. What Lambda sees, and kills a function for, is the process's resident set: garbage of
// sockets and bodies included, as V8 leaves it. What farside is answerable for (I10) is what is in use when garbage is collected.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { functionSizes } from '../../infra/aws/function-sizes.ts';
import { startAwsSite } from '../../infra/local/aws-site.ts';
import { startSites } from '../platform/sites.ts';
import { newBucket, radosgwEnv, s3Words } from '../radosgw/server.ts';
import { MiB } from './content.ts';
import { consumerHere, introduce, mostBeyondIdle } from './memory.ts';
import type { Peered } from './peered.ts';
import type { Figure } from './report.ts';
import { openStore } from './store.ts';

const imageBytes = 512 * MiB;
/** I10. */
const inUseMiBMax = 64;
/** Of the smallest function that copies packs: a tick does small deltas itself. */
const residentMiBMax = functionSizes.schedule.memoryMb;
/** The longest that Lambda gives is 900. */
const invocationSecondsMax = 450;

export async function lambdaConsumer({ store }: Pick<Peered, 'store'>): Promise<Figure[]> {
  const directory = mkdtempSync(join(tmpdir(), 'farside-lambda-'));
  const server = store.endpoint === undefined ? await openStore('s3') : store;
  try {
    return await measure(directory, server.endpoint!);
  } finally {
    if (server !== store) await server.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

async function measure(directory: string, endpoint: string): Promise<Figure[]> {
  const [first, second] = [await newBucket(endpoint), await newBucket(endpoint)];
  const words = [...s3Words(first), '--s3-direct'];
  const sites = await startSites(['site-a'], { platform: 'aws', tickSeconds: 3600, words, env: radosgwEnv });
  const { port, config, b } = await consumerHere('aws');
  const { bucket, region } = second;
  const s3 = { bucket, region, endpoint, pathStyle: true, direct: true };
  const invocationsMs: number[] = [];
  const running = await startAwsSite(
    { directory, port, config, s3, log: () => {} },
    { batchesAtOnce: 1, invoked: (durationMs) => invocationsMs.push(durationMs) },
  );
  try {
    const a = sites.all[0]!;
    await introduce(a, b);
    // First, while this process has not made a habit of collecting.
    let resident = 0;
    const measureResident = (): number => {
      const { rss } = process.memoryUsage();
      resident = Math.max(resident, rss);
      return rss;
    };
    await mostBeyondIdle({ a, b, directory, imageBytes, measure: measureResident });
    const invoked = { longestSeconds: Math.max(...invocationsMs) / 1000, count: invocationsMs.length };
    return figures({ resident, used: await mostBeyondIdle({ a, b, directory, imageBytes: imageBytes / 2 }), invoked });
  } finally {
    await running.stop();
    await sites.stop();
  }
}

type Measured = { used: number; resident: number; invoked: { longestSeconds: number; count: number } };

const figures = ({ used, resident, invoked }: Measured): Figure[] => [
  {
    name: 'Lambda consumer, memory beyond idle',
    value: used / MiB,
    unit: 'MiB',
    atMost: inUseMiBMax,
    note: `heap and buffers in use during an initial sync of ${imageBytes / 2 / MiB} MiB on S3, after a collection; batches of at most 10 one after the other`,
  },
  {
    name: 'Lambda consumer, resident',
    value: resident / MiB,
    unit: 'MiB',
    atMost: residentMiBMax,
    note: `the whole process with Node, the SDKs and garbage, during an initial sync of ${imageBytes / MiB} MiB; the consumer's function has ${functionSizes.consume.memoryMb} MiB, the smallest that copies packs ${residentMiBMax}`,
  },
  {
    name: 'Lambda consumer, longest invocation',
    value: invoked.longestSeconds,
    unit: 's',
    atMost: invocationSecondsMax,
    note: `of ${invoked.count}; Lambda ends one after ${functionSizes.consume.timeoutSeconds} s`,
  },
];
