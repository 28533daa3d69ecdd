// Owns the daily round: garbage collection of every image that changed lately, and removals whose message was lost. It is the
// only part of a tick that lists anything or costs requests per image, so it runs once a day and in bounded steps, each begun
// by the `housekeeping` document's compare-and-swap: two ticks at once do one step.
//
// Not promised: that an image is found whose name was given to another before its removal ended.

import { z } from 'zod';
import { createDocument, readDocument, replaceDocument, type Stored } from '../bucket/document.ts';
import { keyText, parseKey, prefixes } from '../bucket/keys.ts';
import { headerSchema, type Header } from '../image/header.ts';
import { headerKey, readName } from '../image/names.ts';
import { sendAll } from '../mirror/announce.ts';
import type { MirrorDeps } from '../mirror/deps.ts';
import type { Message } from '../mirror/messages.ts';
import { readSite } from './site-document.ts';

const dayMs = 24 * 60 * 60 * 1000;
/** Names looked at by one step: two requests each. */
const namesPerStep = 100;

/** `at`: the pool under way in this round, and the key of the last name looked at there; null between rounds. */
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

async function step(deps: MirrorDeps, stored: Stored<Housekeeping>, nowMs: number): Promise<void> {
  const pools = (await readSite(deps)).pools.toSorted();
  const { at, roundStartedAtMs } = stored.value;
  const pool = at === null ? pools[0] : pools.find((name) => name >= at.pool);
  const after = at !== null && at.pool === pool ? at.after : null;
  const page =
    pool === undefined
      ? { objects: [], more: false }
      : await deps.bucket.list({ prefix: prefixes.allNames(pool), after: after ?? undefined, limit: namesPerStep });
  const nextPool = page.more ? pool : pools.find((name) => pool !== undefined && name > pool);
  const nextAfter = page.more ? (page.objects.at(-1)?.key ?? null) : null;
  const next: Housekeeping = {
    roundStartedAtMs: at === null ? nowMs : roundStartedAtMs,
    at: nextPool === undefined ? null : { pool: nextPool, after: nextAfter },
  };
  // The cursor first: a step that dies is made up for tomorrow, one that is done twice costs twice.
  if (!(await replaceDocument(deps.bucket, stored, next, deps.random))) return;
  const messages: Message[] = [];
  for (const { key } of page.objects) {
    const message = await dueMessage(deps, key, nowMs);
    if (message) messages.push(message);
  }
  await sendAll(deps, messages);
}

async function dueMessage(deps: MirrorDeps, key: string, nowMs: number): Promise<Message | undefined> {
  const name = parseKey(key);
  if (name?.kind !== 'name') return undefined;
  const imageId = await readName(deps, name);
  const header = imageId && (await readDocument(deps.bucket, headerKey(imageId), headerSchema));
  if (!header) return undefined;
  if (header.value.removing === true) return { type: 'remove', imageId };
  if (nowMs - changedAtMs(header.value) > deps.settings.collectGraceMs + 2 * dayMs) return undefined;
  return { type: 'collect', imageId, run: deps.random.uuid(), step: 0 };
}

/** What died before then was collected by an earlier round. */
const changedAtMs = (header: Header): number =>
  Math.max(
    header.modifiedAtMs,
    header.mirror?.lastSync?.completedAtMs ?? 0,
    ...header.snapshots.map((snapshot) => snapshot.createdAtMs),
  );
