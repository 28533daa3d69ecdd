// Owns the durable records of messages that were given up (dead letters): status/failures/<id>. The id is a hash of the
// message, so a message that fails again and again has one record. Nothing depends on records: they tell the operator, who may
// have the messages sent again.
//
//   retry                                  the message, which fails again
//   sends it, to be handled a little later
//   deletes the record
//                                          is given up after all its attempts: a new record
// A retry that dies between the two leaves the record: sending a message twice does no harm.

import { createHash } from 'node:crypto';

import pLimit from 'p-limit';
import { z } from 'zod';

import { createDocument, readDocument, replaceDocument } from '../bucket/document.ts';
import { keyText, prefixes } from '../bucket/keys.ts';
import { FarsideError } from '../errors.ts';
import type { MirrorDeps } from './deps.ts';
import type { DocumentDeps } from './limits.ts';
import { messageSchema, type Message } from './messages.ts';

const failureSchema = z.object({
  id: z.string(),
  /** The message's type, `unknown` for what is no message. */
  type: z.string(),
  /** Of a message that names one. */
  pool: z.string().optional(),
  /** The message as JSON text; cut when it is larger than any of farside's. */
  message: z.string(),
  why: z.string(),
  count: z.int().min(1),
  firstAtMs: z.number(),
  lastAtMs: z.number(),
});
export type Failure = z.infer<typeof failureSchema>;

/** Messages are at most 64 KB. */
const messageCharsMax = 100_000;
const messageCharsShown = 2000;
const whyCharsMax = 1000;
const listedMax = 100;
const readsMax = 16;
/** Of one call that deletes or sends again. */
const recordsMax = 1000;
/** By then the record of the failure is deleted. */
const retryDelayMs = 2000;

/** Writes or renews the record; a race with another recorder of the same failure is lost quietly. */
export async function recordFailure(deps: DocumentDeps, message: unknown, why: string): Promise<void> {
  const text = JSON.stringify(message) ?? String(message);
  const id = createHash('sha256').update(text).digest('hex').slice(0, 32);
  const key = keyText({ kind: 'failure', id });
  const nowMs = deps.clock.nowMs();
  const pool = textOf(message, 'pool');
  const fresh: Failure = {
    id,
    type: textOf(message, 'type') ?? 'unknown',
    ...(pool !== undefined && { pool }),
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

const nameCharsMax = 100;

function textOf(message: unknown, field: 'type' | 'pool'): string | undefined {
  const found =
    typeof message === 'object' && message !== null ? (message as Record<string, unknown>)[field] : undefined;
  return typeof found === 'string' ? found.slice(0, nameCharsMax) : undefined;
}

/** At most 100, newest first among them; their messages are cut. */
export async function listFailures(deps: DocumentDeps): Promise<Failure[]> {
  const page = await deps.bucket.list({ prefix: prefixes.failures, limit: listedMax });
  const limit = pLimit(readsMax);
  const stored = await Promise.all(
    page.objects.map(({ key }) => limit(() => readDocument(deps.bucket, key, failureSchema))),
  );
  return stored
    .flatMap((one) => one?.value ?? [])
    .map((failure) => ({ ...failure, message: failure.message.slice(0, messageCharsShown) }))
    .toSorted((a, b) => b.lastAtMs - a.lastAtMs);
}

/** Forgets one record, or all of them, or as many as one request deletes (1,000). ENOENT: there is no such record. */
export async function clearFailures(deps: DocumentDeps, id?: string): Promise<void> {
  const keys = await keysOf(deps, id);
  if (id !== undefined && !(await deps.bucket.head(keys[0]!))) throw noFailure(id);
  await deps.bucket.delete(keys);
}

export type Retried = { sent: number; left: number };

/** Sends again what was given up: one message, or all. `left`: records of what this version cannot send. */
export async function retryFailures(deps: MirrorDeps, id?: string): Promise<Retried> {
  const limit = pLimit(readsMax);
  const keys = await keysOf(deps, id);
  const outcomes = await Promise.all(keys.map((key) => limit(() => retryRecord(deps, key))));
  if (id !== undefined) assertRetried(id, outcomes[0]);
  return {
    sent: outcomes.filter((outcome) => outcome === 'sent').length,
    left: outcomes.filter((outcome) => outcome === 'unfit').length,
  };
}

async function retryRecord(deps: MirrorDeps, key: string): Promise<'sent' | 'unfit' | 'absent'> {
  const stored = await readDocument(deps.bucket, key, failureSchema);
  if (!stored) return 'absent';
  const message = parseMessage(stored.value.message);
  if (!message) return 'unfit';
  await deps.queue.send([message], { delayMs: retryDelayMs });
  await deps.bucket.delete([key]);
  return 'sent';
}

function assertRetried(id: string, outcome: 'sent' | 'unfit' | 'absent' | undefined): void {
  if (outcome === 'absent') throw noFailure(id);
  if (outcome === 'unfit')
    throw new FarsideError(
      'EOPNOTSUPP',
      `failure ${id} holds no message that this version can send: forget it with 'farside queue purge ${id}'`,
    );
}

function parseMessage(text: string): Message | undefined {
  try {
    return messageSchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

async function keysOf(deps: DocumentDeps, id: string | undefined): Promise<string[]> {
  if (id !== undefined) return [keyText({ kind: 'failure', id })];
  const page = await deps.bucket.list({ prefix: prefixes.failures, limit: recordsMax });
  return page.objects.map(({ key }) => key);
}

const noFailure = (id: string): FarsideError =>
  new FarsideError('ENOENT', `there is no failure ${id}: 'farside queue ls' shows all`);
