// Owns documents: small JSON objects that are changed only by compare-and-swap. On the bucket a document is
// `{"revision":n,"writeId":"<random>","value":…}`. Revisions count from 1 by 1; the write id makes every version's bytes,
// and so its tag, unlike all others, which keeps a stale tag from matching (A, B, A) and lets an unclear put be recognised.

import { z, type ZodType } from 'zod';

import type { Clock } from '../clock.ts';
import { FarsideError } from '../errors.ts';
import type { Random } from '../random.ts';
import { backOff, raceBackoff } from './backoff.ts';
import type { Bucket } from './bucket.ts';
import type { Etag } from './driver.ts';

/** Lost races after which `updateDocument` gives up. */
export const racesMax = 20;

export type Stored<T> = { key: string; etag: Etag; revision: number; value: T };

const envelopeSchema = z.object({ revision: z.int().positive(), writeId: z.string().min(1), value: z.unknown() });
type Envelope = z.infer<typeof envelopeSchema>;

/** EBADMSG when the object is not a document or its value does not fit `schema`. */
export async function readDocument<T>(bucket: Bucket, key: string, schema: ZodType<T>): Promise<Stored<T> | undefined> {
  const found = await readEnvelope(bucket, key);
  if (!found) return undefined;
  const value = schema.safeParse(found.envelope.value);
  if (!value.success) throw malformed(key, z.prettifyError(value.error));
  return { key, etag: found.etag, revision: found.envelope.revision, value: value.data };
}

/** Undefined when the document exists already. */
export async function createDocument<T>(
  bucket: Bucket,
  key: string,
  value: T,
  random: Random,
): Promise<Stored<T> | undefined> {
  const outcome = await bucket.create(key, encode({ revision: 1, writeId: random.uuid(), value }));
  if (outcome.created) return { key, etag: outcome.etag, revision: 1, value };
  if (outcome.unclear) await assertLost(bucket, key, 1);
  return undefined;
}

/** Undefined when `stored` is not the newest version any more, or is gone. */
export async function replaceDocument<T>(
  bucket: Bucket,
  stored: Stored<T>,
  value: T,
  random: Random,
): Promise<Stored<T> | undefined> {
  const { key } = stored;
  const revision = stored.revision + 1;
  const outcome = await bucket.replace(key, encode({ revision, writeId: random.uuid(), value }), stored.etag);
  if (outcome.replaced) return { key, etag: outcome.etag, revision, value };
  if (outcome.unclear) await assertLost(bucket, key, revision);
  return undefined;
}

/**
 * Reads, changes, compare-and-swaps, and again after a lost race (`racesMax`, then EAGAIN). `change` must be pure: it is
 * called once per attempt; it returns undefined for "nothing to do". Undefined when the document is absent.
 */
export async function updateDocument<T>(
  bucket: Bucket,
  key: string,
  schema: ZodType<T>,
  random: Random,
  clock: Clock,
  change: (value: T) => T | undefined,
): Promise<Stored<T> | undefined> {
  for (let lostCount = 0; lostCount <= racesMax; lostCount++) {
    if (lostCount > 0) await backOff(raceBackoff, lostCount - 1, { clock, random });
    const stored = await readDocument(bucket, key, schema);
    if (!stored) return undefined;
    const value = change(stored.value);
    if (value === undefined) return stored;
    const replaced = await replaceDocument(bucket, stored, value, random);
    if (replaced) return replaced;
  }
  throw new FarsideError('EAGAIN', `'${key}' is changed by others too often: lost ${racesMax + 1} races`, {
    retry: 'later',
  });
}

/**
 * After an unclear put that ended in a refusal. If another version holds our revision, ours never landed: a plain loss. A
 * later revision may have been built on ours, and then reporting a loss would make the caller apply its change twice.
 */
async function assertLost(bucket: Bucket, key: string, revision: number): Promise<void> {
  const found = await readEnvelope(bucket, key);
  if (found?.envelope.revision === revision) return;
  const message = `the outcome of writing '${key}' is unclear: an attempt had no answer and the document has moved on; read it before writing again`;
  throw new FarsideError('ETIMEDOUT', message, { retry: 'later' });
}

async function readEnvelope(bucket: Bucket, key: string): Promise<{ etag: Etag; envelope: Envelope } | undefined> {
  const found = await bucket.get(key);
  if (found.status !== 'found') return undefined;
  const envelope = envelopeSchema.safeParse(parseJson(key, found.body));
  if (!envelope.success) throw malformed(key, z.prettifyError(envelope.error));
  return { etag: found.meta.etag, envelope: envelope.data };
}

function encode(envelope: Envelope): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(envelope));
}

function parseJson(key: string, body: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch (cause) {
    throw malformed(key, 'not JSON', cause);
  }
}

function malformed(key: string, why: string, cause?: unknown): FarsideError {
  return new FarsideError('EBADMSG', `malformed document '${key}': ${why}`, { cause });
}
