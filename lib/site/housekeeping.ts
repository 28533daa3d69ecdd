// Owns the daily round: garbage collection of every image that changed lately, removals whose message was lost, and entries of
// the trash that stand for nothing. It is the
// only part of a tick that lists anything or costs requests per image, so it runs once a day and in bounded steps, each begun
// by the `housekeeping` document's compare-and-swap: two ticks at once do one step.
//
// Not promised: that an image is found whose name was given to another before its removal ended.

import { z } from 'zod';
import { createDocument, readDocument, replaceDocument, type Stored } from '../bucket/document.ts';
import type { ObjectMeta } from '../bucket/driver.ts';
import { keyText, parseKey, prefixes } from '../bucket/keys.ts';
import { formerOf } from '../image/formerly.ts';
import { headerSchema, type Header } from '../image/header.ts';
import { headerKey, readName } from '../image/names.ts';
import { isStaleEntry } from '../image/trash.ts';
import { sendAll } from '../mirror/peers/announce.ts';
import { hasJournaling, isByFeature } from '../mirror/verbs/by-feature.ts';
import type { MirrorDeps } from '../mirror/deps.ts';
import type { Message } from '../mirror/messages.ts';
import { isFlattenDue } from '../mirror/replica/replica-parent.ts';
import { readSite } from './site-document.ts';

const dayMs = 24 * 60 * 60 * 1000;
/** Names and entries of the trash looked at by one step: two requests each. */
const namesPerStep = 100;

/** `at`: the pool under way in this round, and the last key looked at there, or the prefix that comes next; null between rounds. */
export const housekeepingSchema = z.object({
  roundStartedAtMs: z.number(),
  at: z.object({ pool: z.string(), after: z.string().nullable() }).nullable(),
});
type Housekeeping = z.infer<typeof housekeepingSchema>;

/** One step, if one is due. An idle tick costs the read of one document. */
export async function keepHouse(deps: MirrorDeps): Promise<void> {
  const key = keyText({ kind: 'housekeeping' });
  const stored = await readDocument(deps.bucket, key, housekeepingSchema);
  const nowMs = deps.clock.nowMs();
  if (!stored) {
    await createDocument<Housekeeping>(deps.bucket, key, { roundStartedAtMs: nowMs, at: null }, deps.random);
    return;
  }
  if (stored.value.at !== null || nowMs - stored.value.roundStartedAtMs >= dayMs) await step(deps, stored, nowMs);
}

/** What a round walks, in this order: of each pool its names, then its trash. */
type Shelf = { pool: string; prefix: string };
const shelvesOf = (pools: readonly string[]): Shelf[] =>
  pools
    .toSorted()
    .flatMap((pool) => [prefixes.allNames(pool), prefixes.trash(pool)].map((prefix) => ({ pool, prefix })));

/** The shelf where the round goes on; it may have lost its pool meanwhile. */
const isAhead = ({ pool, prefix }: Shelf, at: NonNullable<Housekeeping['at']>): boolean =>
  pool > at.pool || (pool === at.pool && (at.after === null || at.after.startsWith(prefix) || prefix > at.after));

async function step(deps: MirrorDeps, stored: Stored<Housekeeping>, nowMs: number): Promise<void> {
  const { at, roundStartedAtMs } = stored.value;
  const shelves = shelvesOf((await readSite(deps)).pools);
  const index = shelves.findIndex((shelf) => at === null || isAhead(shelf, at));
  const { page, last } = await pageOf(deps, shelves[index], at?.after ?? null);
  const next: Housekeeping = {
    roundStartedAtMs: at === null ? nowMs : roundStartedAtMs,
    at: last === undefined ? beginning(index === -1 ? undefined : shelves[index + 1]) : last,
  };
  // The cursor first: a step that dies is made up for tomorrow, one that is done twice costs twice.
  if (!(await replaceDocument(deps.bucket, stored, next, deps.random))) return;
  const messages: Message[] = [];
  for (const object of page) {
    const message = await dueMessage(deps, object, nowMs);
    if (message) messages.push(message);
  }
  await sendAll(deps, messages);
}

const beginning = (shelf: Shelf | undefined): Housekeeping['at'] =>
  shelf === undefined ? null : { pool: shelf.pool, after: shelf.prefix };

type Page = { page: readonly ObjectMeta[]; last?: NonNullable<Housekeeping['at']> };

/** `last`: where the next step goes on, when the shelf has more. */
async function pageOf(deps: MirrorDeps, shelf: Shelf | undefined, after: string | null): Promise<Page> {
  if (shelf === undefined) return { page: [] };
  const { pool, prefix } = shelf;
  const from = after !== null && after !== prefix && after.startsWith(prefix) ? after : undefined;
  const { objects, more } = await deps.bucket.list({ prefix, after: from, limit: namesPerStep });
  const last = objects.at(-1)?.key;
  return more && last !== undefined ? { page: objects, last: { pool, after: last } } : { page: objects };
}

async function dueMessage(deps: MirrorDeps, object: ObjectMeta, nowMs: number): Promise<Message | undefined> {
  const imageId = await imageOf(deps, object);
  const header = imageId && (await readDocument(deps.bucket, headerKey(imageId), headerSchema));
  if (!header) return undefined;
  if (header.value.removing === true) return { type: 'remove', imageId };
  // Of an image that was promoted meanwhile: no tick looks at it.
  if (isFlattenDue(header.value)) return { type: 'flatten', imageId };
  const { pool, namespace, name, mirror, trash } = header.value;
  const isPlain = hasJournaling(header.value) && mirror === undefined && trash === undefined;
  if (isPlain && (await isByFeature(deps, { pool, namespace, image: name })))
    return { type: 'by-feature', pool, namespace, image: name };
  if (nowMs - changedAtMs(header.value) > deps.settings.collectGraceMs + 2 * dayMs) return undefined;
  return { type: 'collect', imageId, run: deps.random.uuid(), step: 0 };
}

/** The image that a name or an entry of the trash stands for. An entry of an attempt that died goes. */
async function imageOf(deps: MirrorDeps, { key, uploadedAtMs }: ObjectMeta): Promise<string | undefined> {
  const parsed = parseKey(key);
  if (parsed?.kind === 'name') return await readName(deps, parsed);
  if (parsed?.kind !== 'trash') return undefined;
  if (!(await isStaleEntry(deps, parsed, uploadedAtMs))) return parsed.imageId;
  await deps.bucket.delete([key]);
  return undefined;
}

/** What died before then was collected by an earlier round. */
const changedAtMs = (header: Header): number =>
  Math.max(
    header.modifiedAtMs,
    header.mirror?.lastSync?.completedAtMs ?? 0,
    ...header.snapshots.map((snapshot) => snapshot.createdAtMs),
    ...formerOf(header).map(({ untilMs }) => untilMs),
  );
