// Owns the question whether a store honours put-if-absent and compare-and-swap, on which everything in farside rests. Some
// S3-compatible servers accept the conditions and ignore them, or check and write in two steps. The probe is a dozen
// requests, leaves nothing behind, and runs when a site is created and at each start. It shows faults; a pass is no proof.

import { FarsideError } from '../errors.ts';
import type { Random } from '../random.ts';
import type { Bucket } from './bucket.ts';
import type { Etag } from './driver.ts';
import { keyText } from './keys.ts';

const racingCreates = 4;
const racingReplaces = 2;
const probesListedMax = 10;

type Probe = { bucket: Bucket; random: Random; id: string };

/** Throws EOPNOTSUPP, saying what the store got wrong, unless it honours the conditions. Other failures pass through. */
export async function probeBucket(bucket: Bucket, deps: { random: Random }): Promise<void> {
  const probe = { bucket, random: deps.random, id: deps.random.uuid() };
  const keys = [keyOf(probe, 0), keyOf(probe, 1), keyOf(probe, 2)];
  try {
    const etag = await probeCreate(probe, keys[0]!);
    await probeCreateRace(probe, keys[1]!);
    await probeReplace(probe, keys[0]!, etag);
    await probeReplaceAbsent(probe, keys[2]!, etag);
    await probeList(probe, keys.slice(0, 2));
  } catch (error) {
    await bucket.delete(keys).catch(() => undefined); // the first failure says more
    throw error;
  }
  await bucket.delete(keys);
}

async function probeCreate({ bucket, random }: Probe, key: string): Promise<Etag> {
  const first = await bucket.create(key, random.bytes(16));
  if (!first.created) throw unfit(bucket, 'refuses to create an object that does not exist (If-None-Match: *)');
  const second = await bucket.create(key, random.bytes(16));
  if (second.created) throw unfit(bucket, 'ignores put-if-absent (If-None-Match: *): it overwrote an object');
  return first.etag;
}

async function probeCreateRace({ bucket, random }: Probe, key: string): Promise<void> {
  const outcomes = await Promise.all(Array.from({ length: racingCreates }, () => bucket.create(key, random.bytes(16))));
  const winners = outcomes.filter((outcome) => outcome.created).length;
  if (winners !== 1)
    throw unfit(bucket, `does not make put-if-absent atomic: ${winners} of ${racingCreates} racing creates won`);
}

async function probeReplace({ bucket, random }: Probe, key: string, etag: Etag): Promise<void> {
  const outcomes = await Promise.all(
    Array.from({ length: racingReplaces }, () => bucket.replace(key, random.bytes(16), etag)),
  );
  const winners = outcomes.filter((outcome) => outcome.replaced).length;
  if (winners === 0) throw unfit(bucket, 'refuses to replace an object by its own tag (If-Match)');
  const stale = await bucket.replace(key, random.bytes(16), etag);
  if (stale.replaced) throw unfit(bucket, 'ignores compare-and-swap (If-Match): it replaced an object by an old tag');
  if (winners !== 1)
    throw unfit(bucket, `does not make compare-and-swap atomic: ${winners} of ${racingReplaces} racing replaces won`);
}

async function probeReplaceAbsent({ bucket, random }: Probe, key: string, etag: Etag): Promise<void> {
  const outcome = await bucket.replace(key, random.bytes(16), etag);
  if (outcome.replaced) throw unfit(bucket, 'accepts If-Match on an object that does not exist');
}

async function probeList({ bucket, id }: Probe, keys: readonly string[]): Promise<void> {
  const page = await bucket.list({ prefix: keyText({ kind: 'probe', id }), limit: probesListedMax });
  const listed = page.objects.map((object) => object.key);
  if (listed.join() !== keys.join())
    throw unfit(bucket, 'does not list objects as soon as they are written, in order of key');
}

function keyOf({ id }: Probe, index: number): string {
  return keyText({ kind: 'probe', id: `${id}-${index}` });
}

function unfit(bucket: Bucket, what: string): FarsideError {
  const remedy =
    'farside cannot keep images safe on it: use R2, S3, or a server whose conditional writes are atomic, and upgrade older builds';
  return new FarsideError('EOPNOTSUPP', `the ${bucket.kind} store ${what}; ${remedy}`);
}
