// Owns the deleting half of collection: condemned packs, the dead entries of others, and leftovers of deltas and syncs. Only
// `collect.ts` calls it, while `header.collect` keeps writers and syncs away. Every step may be repeated.

import { parseKey, prefixes } from '../../bucket/keys.ts';
import { storedKey } from './collect-candidates.ts';
import type { Condemned } from './condemned.ts';
import type { ImageDeps } from '../deps.ts';
import type { Header } from '../header.ts';
import { parsePackId } from '../ids.ts';
import { encodeCopy, parsePackIndex } from '../format/pack.ts';

export type Swept = { deletedPacks: number; shrunkPacks: number; freedBytes: number };

/** Leftover objects deleted by one run. */
const leftoversMax = 1000;

export async function sweep(deps: ImageDeps, header: Header, condemned: Condemned): Promise<Swept> {
  const keyOf = (name: string): string => storedKey(header.imageId, name);
  await deps.bucket.delete(condemned.packs.map(keyOf));
  const swept: Swept = { deletedPacks: condemned.packs.length, shrunkPacks: 0, freedBytes: 0 };
  for (const shrink of condemned.shrinks) {
    const freedBytes = await shrinkPack(deps, keyOf(shrink.pack), shrink);
    if (freedBytes > 0) swept.shrunkPacks++;
    swept.freedBytes += freedBytes;
  }
  return swept;
}

/** Rewrites one pack without its dead entries. If somebody else changed it meanwhile, it is left as it is. */
async function shrinkPack(deps: ImageDeps, key: string, shrink: Condemned['shrinks'][number]): Promise<number> {
  const found = await deps.bucket.get(key);
  if (found.status !== 'found') return 0;
  const index = parsePackIndex(found.body, parsePackId(shrink.packId ?? shrink.pack));
  const isKept = (entryIndex: number): boolean =>
    shrink.keep.some(([first, last]) => entryIndex >= first && entryIndex <= last);
  const copy = encodeCopy(index, (entryIndex) => {
    return index.isPresent(entryIndex) && isKept(entryIndex) ? index.encoded(found.body, entryIndex) : undefined;
  });
  if (copy.length >= found.body.length) return 0;
  const outcome = await deps.bucket.replace(key, copy, found.meta.etag);
  return outcome.replaced ? found.body.length - copy.length : 0;
}

/** Deletes manifests of snapshots that are gone and markers of syncs that have ended, when older than the grace. */
export async function removeLeftovers(deps: ImageDeps, header: Header): Promise<number> {
  const oldMs = deps.clock.nowMs() - deps.settings.collectGraceMs;
  const snapshotIds = new Set(header.snapshots.map((snapshot) => snapshot.id));
  const isLeftover = (text: string): boolean => {
    const key = parseKey(text);
    if (key?.kind === 'delta') return !snapshotIds.has(key.snapshotId);
    if (key?.kind === 'sync-manifest' || key?.kind === 'sync-marker') return key.syncId !== header.mirror?.sync?.syncId;
    return key?.kind === 'collect';
  };
  const keys: string[] = [];
  for (const prefix of [
    prefixes.deltas(header.imageId),
    prefixes.syncs(header.imageId),
    prefixes.collects(header.imageId),
  ]) {
    const page = await deps.bucket.list({ prefix, limit: leftoversMax });
    for (const object of page.objects) if (object.uploadedAtMs < oldMs && isLeftover(object.key)) keys.push(object.key);
  }
  if (keys.length > 0) await deps.bucket.delete(keys);
  return keys.length;
}
