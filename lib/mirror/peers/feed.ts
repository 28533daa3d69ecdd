// Owns the change feed of a pool: numbered, write-once records that say which image changed. A peer reads on from its own
// cursor, so a quiet pool costs it one miss, however many images there are (I11).
//
// - Numbers are dense from 0: a record is put at the first free number, put-if-absent. So "the next number is absent" means
//   that there is nothing newer.
// - Where the end is, is only hinted at: by what this process wrote last, or by a document that every 16th record renews.
//   From the hint we gallop (1, 2, 4 … records on) and close in by halves.
// - Records far behind the end are deleted. A reader whose cursor points there sees a miss and believes the feed quiet, until
//   the full comparison (poll.ts) gives it a new cursor.
//
// Not promised: that a change has its record. A writer may die between its change and the record; the comparison finds it.

import { z } from 'zod';

import { createDocument, readDocument, replaceDocument } from '../../bucket/document.ts';
import { keyText } from '../../bucket/keys.ts';
import { FarsideError } from '../../errors.ts';
import { firstFree } from '../roles/dense.ts';
import type { DocumentDeps } from '../limits.ts';
import { feedRecordSchema, type FeedPage, type FeedRecord } from '../peer-protocol.ts';
import { recall, recent, remember } from '../recent.ts';

const hintSchema = z.object({ end: z.int().min(0) });
const hintEvery = 16;
const trimEvery = 500;
const appendTriesMax = 100;

const recordKey = (pool: string, seq: number): string => keyText({ kind: 'feed', pool, seq });
const hintKey = (pool: string): string => keyText({ kind: 'feed-hint', pool });
const endKey = (pool: string): string => `feed end of ${pool}`;

/** One PUT when this process wrote the newest record; a few requests more when not. */
export async function appendToFeed(deps: DocumentDeps, pool: string, record: FeedRecord): Promise<void> {
  const body = new TextEncoder().encode(JSON.stringify({ ...record, nonce: deps.random.uuid() }));
  let seq = await hintedEnd(deps, pool);
  for (let tries = 0; tries < appendTriesMax; tries++) {
    const { created } = await deps.bucket.create(recordKey(pool, seq), body);
    if (created) return appended(deps, pool, seq);
    seq = await endAfter(deps, pool, seq + 1);
  }
  throw new FarsideError('EAGAIN', `the change feed of pool ${pool} is written by others too often; try again`, {
    retry: 'later',
  });
}

async function appended(deps: DocumentDeps, pool: string, seq: number): Promise<void> {
  remember(deps, endKey(pool), seq + 1);
  if (seq % hintEvery === hintEvery - 1) await writeHint(deps, pool, seq + 1);
  if (seq % trimEvery === 0) await trim(deps, pool, seq - deps.limits.feedRecordsKept);
}

/** Best effort: a lost race means that another hint is there, and a hint may be old. */
async function writeHint(deps: DocumentDeps, pool: string, end: number): Promise<void> {
  const stored = await readDocument(deps.bucket, hintKey(pool), hintSchema);
  if (!stored) await createDocument(deps.bucket, hintKey(pool), { end }, deps.random);
  else if (stored.value.end < end) await replaceDocument(deps.bucket, stored, { end }, deps.random);
}

/** Free of charge: deletes are not billed. A trim that is lost leaves a few hundred tiny objects. */
async function trim(deps: DocumentDeps, pool: string, below: number): Promise<void> {
  if (below <= 0) return;
  const first = Math.max(0, below - trimEvery);
  await deps.bucket.delete(Array.from({ length: below - first }, (_, index) => recordKey(pool, first + index)));
}

const hintedEnd = (deps: DocumentDeps, pool: string): Promise<number> =>
  recent(deps, endKey(pool), () => lookForHint(deps, pool));

/** What this process remembers may lie before a trim by another, where numbers are free but never read: so the record before must be there. */
async function lookForHint(deps: DocumentDeps, pool: string): Promise<number> {
  const known = recall(deps, endKey(pool));
  if (typeof known === 'number' && known > 0 && (await deps.bucket.head(recordKey(pool, known - 1)))) return known;
  return (await readDocument(deps.bucket, hintKey(pool), hintSchema))?.value.end ?? 0;
}

/** The first free number at or after `from`, all before `from` being taken. */
const endAfter = (deps: DocumentDeps, pool: string, from: number): Promise<number> =>
  firstFree(from, async (seq) => (await deps.bucket.head(recordKey(pool, seq))) !== undefined);

/** The number that the next record will have, or had a moment ago. */
export async function feedEnd(deps: DocumentDeps, pool: string): Promise<number> {
  return endAfter(deps, pool, await hintedEnd(deps, pool));
}

/** At most `feedRecordsMax` records from a cursor on. One request when there is nothing new. */
export async function readFeed(deps: DocumentDeps, pool: string, from: number): Promise<FeedPage> {
  const records: FeedRecord[] = [];
  while (records.length < deps.limits.feedRecordsMax) {
    const found = await deps.bucket.get(recordKey(pool, from + records.length));
    if (found.status !== 'found') return { records, next: from + records.length, more: false };
    records.push(parseRecord(found.body));
  }
  return { records, next: from + records.length, more: true };
}

function parseRecord(body: Uint8Array): FeedRecord {
  try {
    return feedRecordSchema.parse(JSON.parse(new TextDecoder().decode(body)));
  } catch (cause) {
    throw new FarsideError('EBADMSG', 'malformed feed record', { cause });
  }
}
