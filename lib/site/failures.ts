// Owns the durable records of messages that could not be handled: status/failures/<id>. The id is a hash of the message, so a
// message that fails again and again has one record. Records inform the operator; nothing else depends on them.

import { createHash } from 'node:crypto';

import { z } from 'zod';

import { createDocument, readDocument, replaceDocument } from '../bucket/document.ts';
import { keyText, prefixes } from '../bucket/keys.ts';
import type { DocumentDeps } from '../mirror/deps.ts';

const failureSchema = z.object({
  id: z.string(),
  /** The message's type, `unknown` for what is no message. */
  type: z.string(),
  /** The message as JSON text, cut. */
  message: z.string(),
  why: z.string(),
  count: z.int().min(1),
  firstAtMs: z.number(),
  lastAtMs: z.number(),
});
export type Failure = z.infer<typeof failureSchema>;

const messageCharsMax = 2000;
const whyCharsMax = 1000;
const listedMax = 100;

/** Writes or renews the record; a race with another recorder of the same failure is lost quietly. */
export async function recordFailure(deps: DocumentDeps, message: unknown, why: string): Promise<void> {
  const text = JSON.stringify(message) ?? String(message);
  const id = createHash('sha256').update(text).digest('hex').slice(0, 32);
  const key = keyText({ kind: 'failure', id });
  const nowMs = deps.clock.nowMs();
  const fresh: Failure = {
    id,
    type: typeOf(message),
    message: text.slice(0, messageCharsMax),
    why: why.slice(0, whyCharsMax),
    count: 1,
    firstAtMs: nowMs,
    lastAtMs: nowMs,
  };
  if (await createDocument(deps.bucket, key, fresh, deps.random)) return;
  const stored = await readDocument(deps.bucket, key, failureSchema);
  if (stored)
    await replaceDocument(
      deps.bucket,
      stored,
      { ...fresh, firstAtMs: stored.value.firstAtMs, count: stored.value.count + 1 },
      deps.random,
    );
}

function typeOf(message: unknown): string {
  const type = typeof message === 'object' && message !== null && 'type' in message ? message.type : undefined;
  return typeof type === 'string' ? type.slice(0, 40) : 'unknown';
}

/** At most 100, newest first among them. */
export async function listFailures(deps: DocumentDeps): Promise<Failure[]> {
  const page = await deps.bucket.list({ prefix: prefixes.failures, limit: listedMax });
  const stored = await Promise.all(page.objects.map(({ key }) => readDocument(deps.bucket, key, failureSchema)));
  return stored.flatMap((one) => one?.value ?? []).toSorted((a, b) => b.lastAtMs - a.lastAtMs);
}

/** Forgets all records, or as many as one request deletes (1,000). */
export async function clearFailures(deps: DocumentDeps): Promise<void> {
  const page = await deps.bucket.list({ prefix: prefixes.failures, limit: 1000 });
  await deps.bucket.delete(page.objects.map(({ key }) => key));
}
