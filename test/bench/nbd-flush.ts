// What small writes with flushes cost, through NBD: writes to the bucket for each MiB written, and how long a flush takes against one
// put of as many bytes. The server is in this process, so that its requests can be counted; the bucket is the site's own.

import { randomFillSync } from 'node:crypto';
import { join } from 'node:path';
import { attachLimitsDefault } from '../../lib/attach/limits.ts';
import type { Bucket } from '../../lib/bucket/bucket.ts';
import { keyText } from '../../lib/bucket/keys.ts';
import { openExports } from '../../lib/cli/nbd/exports.ts';
import { serveExports } from '../../lib/cli/nbd/serving.ts';
import { systemClock as clock } from '../../lib/clock.ts';
import { assert } from '../../lib/errors.ts';
import { settingsDefault } from '../../lib/image/deps.ts';
import { attachOwner } from '../../lib/node/attach-owner.ts';
import { ThreadedCodec } from '../../lib/node/threaded-codec.ts';
import { systemRandom as random } from '../../lib/random.ts';
import { seededRandom } from '../image/model.ts';
import { RawClient } from '../nbd/raw-client.ts';
import { MiB } from './content.ts';
import type { Peered } from './peered.ts';
import { median, type Figure } from './report.ts';

const diskBytes = 256 * MiB;
const writeBytes = 4096;
const writesPerFlush = 64;
const flushCount = 96;
const command = { write: 1, flush: 3 };

type Timed = { flushMs: number[]; putMs: number[] };

export async function nbdFlushes({ a, places, directory }: Peered): Promise<Figure[]> {
  await a.farsideOk('create', '--size', `${diskBytes / MiB}M`, 'rbd/flushed');
  const bucket = places.a.bucketOf(a);
  const path = join(directory, 'flush.sock');
  const timed = await whileServed(bucket, path, () => timeFlushes(path, places.a.bucketOf(a)));
  const { A: writes } = bucket.counts();
  const writtenMiB = (flushCount * writesPerFlush * writeBytes) / MiB;
  const slots = (writesPerFlush * writeBytes) / MiB;
  return [
    {
      name: 'bucket writes per MiB, 4 KiB writes',
      value: writes / writtenMiB,
      unit: 'requests',
      atMost: 4.5,
      note: `random, a flush every ${writesPerFlush}: ${1 / slots} segments per MiB, the rest is attaching, folding and giving back; ${writtenMiB} MiB`,
    },
    {
      name: 'flush ÷ one put',
      value: median(timed.flushMs) / median(timed.putMs),
      unit: 'ratio',
      note: `of ${writesPerFlush} writes of 4 KiB; medians of ${flushCount}, in turn with a bare put of as many bytes: ${median(timed.flushMs).toFixed(1)} and ${median(timed.putMs).toFixed(1)} ms`,
    },
  ];
}

async function whileServed<T>(bucket: Bucket, path: string, work: () => Promise<T>): Promise<T> {
  const deps = { bucket, clock, random, settings: settingsDefault, codec: new ThreadedCodec() };
  const exports = await openExports(deps, [{ pool: 'rbd', namespace: '', image: 'flushed' }], {
    owner: attachOwner({ clock, random }),
    limits: attachLimitsDefault,
    readOnly: false,
    force: false,
    journal: { advance: async () => undefined },
    walDirectory: undefined,
    quiesceHook: undefined,
    note: console.error,
  });
  const [listening, ended] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const serving = serveExports(
    { exports, address: { path }, tls: undefined, note: console.error, ended: ended.promise },
    () => listening.resolve(),
  );
  try {
    await Promise.race([listening.promise, serving]);
    return await work();
  } finally {
    ended.resolve();
    await serving;
  }
}

/** Each flush is followed by a bare put of as many bytes. */
async function timeFlushes(path: string, bucket: Bucket): Promise<Timed> {
  const client = await RawClient.connect({ path });
  await client.go();
  const timed: Timed = { flushMs: [], putMs: [] };
  const places = seededRandom(64);
  const imageId = random.uuid();
  const data = Buffer.allocUnsafe(writesPerFlush * writeBytes);
  for (let seq = 0; seq < flushCount; seq++) {
    randomFillSync(data);
    await writeAll(client, data, () => Math.floor((places.fraction() * diskBytes) / writeBytes) * writeBytes);
    timed.flushMs.push(
      await millisecondsOf(async () => {
        assert((await client.ask(command.flush)) === 0, 'a flush failed');
      }),
    );
    const key = keyText({ kind: 'slot', imageId, epoch: '0'.repeat(16), seq });
    timed.putMs.push(await millisecondsOf(() => bucket.create(key, data)));
  }
  await client.disconnect();
  return timed;
}

async function writeAll(client: RawClient, data: Buffer, place: () => number): Promise<void> {
  for (let at = 0; at < data.length; at += writeBytes)
    client.request(command.write, { offset: place(), data: data.subarray(at, at + writeBytes) });
  for (let at = 0; at < data.length; at += writeBytes) assert((await client.simpleReply()) === 0, 'a write failed');
}

async function millisecondsOf(work: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await work();
  return performance.now() - startMs;
}
