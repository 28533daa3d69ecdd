// Memory that is used again, under a bucket that is slow, fails, and reads the bodies of its puts late: when it takes one, the body
// must still be what it was when it was given, and every reader must get his own bytes. Limits are tiny, so that memory is used
// again all the time. `SEED=4711 SEEDS=1` repeats one run; more seeds by hand.

import { describe, expect, test } from 'vitest';
import { AttachedImage } from '../../lib/attach/attached-image.ts';
import { attachLimitsDefault, type AttachLimits } from '../../lib/attach/limits.ts';
import type { WriteAheadLog } from '../../lib/attach/journal-writer.ts';
import { Bucket } from '../../lib/bucket/bucket.ts';
import type { Driver } from '../../lib/bucket/driver.ts';
import { FarsideError } from '../../lib/errors.ts';
import { openHeader } from '../../lib/image/access.ts';
import { foldTail } from '../../lib/image/journal/fold.ts';
import { createImage } from '../../lib/image/images.ts';
import type { Random } from '../../lib/random.ts';
import { importBytes, memorySite, readImage, seededRandom, spec, type MemorySite } from '../image/model.ts';

const seeds = Number(process.env['SEEDS'] ?? 4);
const first = Number(process.env['SEED'] ?? 1);

const objectBytes = 64 * 1024;
/** Of one worker; all requests of others keep off it. Not whole sectors: neighbours share one. */
const regionBytes = 100_100;
const workerCount = 4;
const stepCount = 30;
/** Never written after the import, so that every byte of it is known to every reader. */
const stillBytes = 512 * 1024;
const sizeBytes = workerCount * regionBytes + stillBytes;
const owner = { lockId: 'auto 1', locker: 'client.1', address: 'here:0/1', sinceMs: 0 };
const limits: AttachLimits = {
  ...attachLimitsDefault,
  segmentBytesMax: 32 * 1024,
  pendingBytesMax: 96 * 1024,
  flushPatienceMs: Number.MAX_SAFE_INTEGER,
  foldSegmentsMax: 6,
  cacheBytes: 192 * 1024,
  readAheadBytes: 64 * 1024,
};

const below = (random: Random, max: number): number => Math.floor(random.fraction() * max);
const chance = (random: Random, share: number): boolean => random.fraction() < share;

/** Some turns of the event loop. */
async function turns(random: Random, max: number): Promise<void> {
  for (let left = below(random, max); left > 0; left--) await new Promise((resolve) => setImmediate(resolve));
}

const lost = (): FarsideError => new FarsideError('ETIMEDOUT', 'made to fail', { retry: 'later' });

/** Bodies that had changed when they were taken: what this test is about. */
type Late = { changedBodies: number };

/** Copies the body only when the put lands: before it settles where the driver `frees` bodies, else perhaps long after it failed. */
function lateDriver(inner: Driver, random: Random, frees: boolean, late: Late): Driver {
  const land = async (...[key, body, condition]: Parameters<Driver['put']>): ReturnType<Driver['put']> => {
    const given = Buffer.from(body);
    await turns(random, 12);
    if (!given.equals(body)) late.changedBodies++;
    return await inner.put(key, body, condition);
  };
  const put: Driver['put'] = async (key, body, condition) => {
    const landing = land(key, body, condition);
    if (!frees && chance(random, 0.15)) {
      landing.catch(() => {});
      throw lost();
    }
    const outcome = await landing;
    if (chance(random, 0.1)) throw lost();
    return outcome;
  };
  const get: Driver['get'] = async (key, options = {}) => {
    await turns(random, 6);
    const found = await inner.get(key, options);
    const { room } = options;
    if (found.status !== 'found' || !frees || !room || room.length < found.body.length) return found;
    const half = found.body.length >>> 1;
    room.set(found.body.subarray(0, half));
    await turns(random, 6);
    room.set(found.body.subarray(half), half);
    if (chance(random, 0.1)) throw lost();
    return { ...found, body: room.subarray(0, found.body.length) };
  };
  return {
    kind: 'memory',
    freesBody: frees,
    get,
    put,
    head: (key) => inner.head(key),
    delete: (keys) => inner.delete(keys),
    list: (options) => inner.list(options),
  };
}

/** Takes the bytes when the disk has them. */
const lateLog = (random: Random, late: Late): WriteAheadLog => ({
  append: async (_, bytes) => {
    const given = Buffer.from(bytes);
    await turns(random, 10);
    if (!given.equals(bytes)) late.changedBodies++;
  },
  release: async () => turns(random, 4),
});

/** Some of it may be compressed, some is zeros. */
function someBytes(random: Random, byteCount: number): Buffer {
  if (chance(random, 0.1)) return Buffer.alloc(byteCount);
  if (chance(random, 0.3)) return Buffer.alloc(byteCount, below(random, 256));
  return Buffer.from(random.bytes(byteCount));
}

type Run = { image: AttachedImage; content: Buffer; random: Random };

/** What has changed hands must not matter: the caller's memory is his own again when a write has settled. */
async function write({ image, content, random }: Run, offset: number, length: number): Promise<void> {
  const data = someBytes(random, length);
  content.set(data, offset);
  await image.write(offset, data);
  data.fill(0x5a);
}

async function zero({ image, content }: Run, offset: number, length: number): Promise<void> {
  content.fill(0, offset, offset + length);
  await image.zero(offset, length);
}

async function compare({ image, content }: Run, offset: number, length: number): Promise<void> {
  const target = Buffer.alloc(length, 0xee);
  await image.readInto(offset, target);
  const expected = content.subarray(offset, offset + length);
  if (!target.equals(expected)) {
    const at = target.findIndex((byte, index) => byte !== expected[index]);
    throw new Error(`read ${length} bytes at ${offset}: byte ${at} is ${target[at]}, not ${expected[at]}`);
  }
}

/** Several requests together in one region, in order; then what a reader finds there. */
async function work(run: Run, start: number): Promise<void> {
  const { image, random } = run;
  const place = (): [number, number] => {
    const length = 1 + below(random, chance(random, 0.2) ? 40_000 : 6000);
    const whole = chance(random, 0.6);
    const offset = below(random, regionBytes - length);
    return whole
      ? [start + offset - ((start + offset) % 512) + 512, Math.max(0, length - 1024 - (length % 512))]
      : [start + offset, length];
  };
  for (let step = 0; step < stepCount; step++) {
    const requests = Array.from({ length: 1 + below(random, 4) }, () =>
      chance(random, 0.8) ? write(run, ...place()) : zero(run, ...place()),
    );
    if (chance(random, 0.4)) requests.push(image.flush());
    await Promise.all(requests);
    await compare(run, ...place());
    if (chance(random, 0.1)) await compare(run, start, regionBytes);
  }
}

async function readStill(run: Run): Promise<void> {
  const start = workerCount * regionBytes;
  for (let at = 0, step = 0; step < 2 * stepCount; step++) {
    const length = 1 + below(run.random, 30_000);
    if (chance(run.random, 0.2) || at + length > stillBytes) at = below(run.random, stillBytes - length);
    await compare(run, start + at, length);
    at += length;
  }
}

async function keepHouse({ image, random }: Run, deps: MemorySite, isOver: () => boolean): Promise<void> {
  while (!isOver()) {
    await turns(random, 40);
    deps.clock.advance(500);
    await image.maintain();
    if (chance(random, 0.1)) await foldTail(deps, await openHeader(deps, spec('vm'))).catch(() => {});
  }
}

async function soak(seed: number): Promise<{ late: Late; isSame: boolean }> {
  const random = seededRandom(seed);
  const late = { changedBodies: 0 };
  const site = await memorySite({ packBytes: 128 * 1024, blockBytes: 16 * 1024 });
  const content = Buffer.from(random.bytes(sizeBytes));
  content.fill(7, sizeBytes - stillBytes / 4); // a part that is compressed
  await importBytes(site, 'vm', content, { objectBytes, compression: 'auto' });
  const driver = lateDriver(site.driver, random, seed % 2 === 1, late);
  const deps = { ...site, random, bucket: new Bucket(driver, { ...site, random }) };
  const wal = seed % 4 < 2 ? undefined : () => lateLog(random, late);
  const image = await AttachedImage.open(deps, spec('vm'), { owner, limits, wal });
  const run = { image, content, random };
  let isOver = false;
  const house = keepHouse(run, deps, () => isOver);
  const workers = Array.from({ length: workerCount }, (_, index) => work(run, index * regionBytes));
  await Promise.all([...workers, readStill(run), readStill(run)]).finally(() => (isOver = true));
  await house;
  await image.close();
  return { late, isSame: content.equals(await readImage(site, 'vm')) };
}

describe('an image in use, its memory used again all the time', () => {
  test.each(Array.from({ length: seeds }, (_, index) => first + index))('seed %i', async (seed) => {
    const { late, isSame } = await soak(seed);
    expect(late.changedBodies).toBe(0);
    expect(isSame).toBe(true);
  });
});

/** Only large segments lie in memory that is used again, and a put that has failed may land when its segment is long in its slot. */
async function streamLarge(frees: boolean): Promise<{ late: Late; isSame: boolean }> {
  const random = seededRandom(first);
  const late = { changedBodies: 0 };
  const site = await memorySite();
  const bytes = Buffer.from(random.bytes(1024 * 1024));
  const content = Buffer.alloc(4 * 1024 * 1024);
  await createImage(site, spec('vm'), { sizeBytes: content.length, objectBytes: 1024 * 1024 });
  const deps = {
    ...site,
    random,
    bucket: new Bucket(lateDriver(site.driver, random, frees, late), { ...site, random }),
  };
  const large = { ...limits, segmentBytesMax: 384 * 1024, pendingBytesMax: 1024 * 1024 };
  const image = await AttachedImage.open(deps, spec('vm'), { owner, limits: large });
  const chunkBytes = 128 * 1024;
  for (let at = 0; at < 2 * content.length; at += chunkBytes) {
    const from = 512 * below(random, (bytes.length - chunkBytes) / 512);
    const data = bytes.subarray(from, from + chunkBytes);
    content.set(data, at % content.length);
    await image.write(at % content.length, data);
    await turns(random, 3);
  }
  await image.close();
  await turns(random, 100);
  return { late, isSame: content.equals(await readImage(site, 'vm')) };
}

test.each([true, false])('large segments of a stream, whose driver lets go of bodies: %s', async (frees) => {
  expect(await streamLarge(frees)).toEqual({ late: { changedBodies: 0 }, isSame: true });
});
