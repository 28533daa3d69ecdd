// Owns the trash as far as mirroring is concerned: replicas that wait there for the delete delay, and their removal when it is
// over. The verbs are in images.ts.
//
// What is due is found by the tick without asking for it: the pool's document, which the tick reads anyway, says when to look
// next (`trash.dueAtMs`). It is never too late, for an entry is put before the document is changed, and the entries are listed
// after it was changed:
//
//   trashing a replica                        tick
//   puts the entry
//                                             swaps the pool: look again in a minute (write 7)
//   swaps the pool: due at t (write 8)
//                                             lists the entries; its swap wants write 7: not done
//   swaps the header
//
// An entry that was put before the tick's first swap is in its list.

import { readDocument, type Stored } from '../../bucket/document.ts';
import { checkName, keyText, parseKey, prefixes } from '../../bucket/keys.ts';
import { FarsideError } from '../../errors.ts';
import { readHeader } from '../../image/access.ts';
import { withFormer } from '../../image/formerly.ts';
import { userSnapshots, type Header } from '../../image/header.ts';
import { freeName } from '../../image/names.ts';
import { optionDefault, optionOf, overridden } from '../../image/options.ts';
import { dropEntry, isHeldByClones, isStaleEntry, newTrash, putEntry, removeFromTrash } from '../../image/trash.ts';
import type { ToTrash, TrashEntry } from '../../image/trash.ts';
import { endFollowing } from '../../image/journal/replica-end.ts';
import { updateWhole, whole } from '../../image/whole.ts';
import { noteKept, removeFromCatalog } from '../peers/catalog.ts';
import { recentLevels } from '../config.ts';
import type { MirrorDeps } from '../deps.ts';
import { mirrorOf, poolSchema, updatePool, type Pool } from '../pool.ts';

/** Replicas removed by one tick: five requests each. */
const expiredPerTickMax = 50;
/** Kept replicas removed by one call. */
const droppedPerCallMax = 1000;
/** When a look was cut short, or something is still going; when clones hold a replica. */
const againMs = 60_000;
const heldMs = 60 * 60_000;

/** Of one removal: whether the image goes to the trash instead, and for how long. It goes before what options say. */
export type AskedRemoval = {
  toTrash?: boolean | undefined;
  expireSeconds?: number | undefined;
  parentToTrash?: boolean | undefined;
};

/** How `rm` puts an image into the trash; undefined: not at all. */
export async function removalToTrash(
  deps: MirrorDeps,
  header: Header,
  { toTrash, expireSeconds, parentToTrash }: AskedRemoval,
): Promise<ToTrash | undefined> {
  const levels = await recentLevels(deps, header.pool, header.meta);
  if (toTrash ?? optionOf('rbd_move_to_trash_on_remove', levels))
    return { delaySeconds: expireSeconds ?? optionOf('rbd_move_to_trash_on_remove_expire_seconds', levels) };
  const forClones = isHeldByClones(header) && (parentToTrash ?? optionOf('rbd_move_parent_to_trash_on_remove', levels));
  return forClones ? { delaySeconds: 0, forClones } : undefined;
}

/** How long a replica is kept whose primary gave it up: as the option says, else until it is not worth much any more. `stays`: the primary lives on. */
export async function deleteDelaySeconds(deps: MirrorDeps, header: Header, stays: boolean): Promise<number> {
  const levels = await recentLevels(deps, header.pool, header.meta);
  const asked = overridden('rbd_mirroring_delete_delay', levels);
  return asked ?? (stays ? deps.limits.replicaKeptMs / 1000 : optionDefault('rbd_mirroring_delete_delay'));
}

export type ReplicaToTrash = {
  delaySeconds: number;
  /** The primary lives on: it may be mirrored again, and find this replica (kept-replica.ts). */
  stays: boolean;
  /** Whether the header still is one that mirroring may take away; if not, nothing happens. */
  isOurs: (header: Header) => boolean;
};

/** A replica whose primary gave up mirroring becomes an ordinary image in the trash, with its user snapshots. */
export async function trashReplica(
  deps: MirrorDeps,
  stored: Stored<Header>,
  { delaySeconds, stays, isOurs }: ReplicaToTrash,
): Promise<void> {
  const { pool, imageId, mirror } = stored.value;
  const globalId = mirror?.globalId;
  const drawn = newTrash(deps, 'mirroring', delaySeconds);
  const trash = stays && globalId !== undefined ? { ...drawn, replicaOf: globalId } : drawn;
  await putEntry(deps, stored.value, trash);
  await noteDue(deps, pool, trash.deferredUntilMs);
  // Before the swap: whoever looks for it from then on finds it.
  if (trash.replicaOf !== undefined)
    await noteKept(deps, pool, trash.replicaOf, { imageId, untilMs: trash.deferredUntilMs });
  const move = (now: Header): Header | undefined => {
    if (!isOurs(now)) return undefined;
    const left = whole(unmirrored(now));
    return { ...(stays ? withFormer(left, now, trash.deferredUntilMs) : left), trash };
  };
  const { value } = await updateWhole(deps, stored, endFollowing, move);
  if (value.trash?.id !== trash.id) return dropEntry(deps, stored.value, trash);
  await letGo(deps, value, globalId);
}

/**
 * Removes what is kept for primaries that may be mirrored again, before its pool or namespace is removed: nothing is, while the place
 * mirrors. A bounded part; ENOTEMPTY and EBUSY tell who removes the place that there is more.
 */
export async function dropKept(deps: MirrorDeps, pool: string, namespace?: string): Promise<void> {
  const document = await readDocument(
    deps.bucket,
    keyText({ kind: 'pool', pool: checkName('pool', pool) }),
    poolSchema,
  );
  if (!document || isMirrored(document.value, namespace)) return;
  const page = await deps.bucket.list({ prefix: prefixes.trashOf(pool, 'mirroring'), limit: droppedPerCallMax });
  for (const { key } of page.objects) {
    const entry = parseKey(key);
    if (entry?.kind !== 'trash' || (namespace !== undefined && entry.namespace !== namespace)) continue;
    const trash = (await readHeader(deps, entry.imageId))?.value.trash;
    if (trash?.replicaOf === undefined || trash.id !== entry.trashId) continue;
    const { trashId } = entry;
    await removeFromTrash(deps, entry, { force: true, byMirroring: true, trashId, queue: deps.queue }).catch(
      ignoreHeld,
    );
  }
}

const isMirrored = (pool: Pool, namespace: string | undefined): boolean =>
  namespace === undefined
    ? pool.mirror !== undefined || (pool.namespaces ?? []).length > 0
    : mirrorOf(pool, namespace) !== undefined;

/** It has clones, or somebody else was first. */
function ignoreHeld(error: unknown): void {
  if (!(error instanceof FarsideError) || (error.code !== 'ENOENT' && error.code !== 'ENOTEMPTY')) throw error;
}

function unmirrored({ mirror: _, ...header }: Header): Header {
  const features = header.features.filter((feature) => feature !== 'non-primary');
  return { ...header, features, snapshots: userSnapshots(header) };
}

/** What an image in the trash still holds, if the one who put it there died. */
export async function letGo(deps: MirrorDeps, header: Header, globalId: string | undefined): Promise<void> {
  const { pool, namespace, name, imageId } = header;
  await freeName(deps, { pool, namespace, image: name }, imageId);
  if (globalId !== undefined) await removeFromCatalog(deps, pool, globalId, imageId);
}

/** Always a new version of the pool's document: that is what a tick that is looking recognises it by. */
async function noteDue(deps: MirrorDeps, pool: string, dueAtMs: number): Promise<void> {
  await updatePool(deps, pool, (now) => ({
    ...now,
    trash: { dueAtMs: Math.min(now.trash?.dueAtMs ?? Infinity, dueAtMs), writes: (now.trash?.writes ?? 0) + 1 },
  }));
}

/** Removes what the delete delay kept, a bounded part of it, when it is time. Costs nothing before. */
export async function expireTrash(deps: MirrorDeps, pool: Pool): Promise<void> {
  const nowMs = deps.clock.nowMs();
  if ((pool.trash?.dueAtMs ?? Infinity) > nowMs) return;
  const looking = await updatePool(deps, pool.name, ({ trash, ...rest }) =>
    trash && trash.dueAtMs <= nowMs
      ? { ...rest, trash: { dueAtMs: nowMs + againMs, writes: trash.writes + 1 } }
      : undefined,
  );
  const writes = looking.trash?.writes;
  const prefix = prefixes.trashOf(pool.name, 'mirroring');
  const page = await deps.bucket.list({ prefix, limit: expiredPerTickMax });
  const nextMs: number[] = page.more ? [nowMs + againMs] : [];
  for (const object of page.objects) {
    const entry = parseKey(object.key);
    if (entry?.kind !== 'trash') continue;
    if (entry.dueSeconds * 1000 > nowMs) nextMs.push(entry.dueSeconds * 1000);
    else nextMs.push(nowMs + (await expire(deps, entry, object.uploadedAtMs)));
  }
  await updatePool(deps, pool.name, (now) => {
    if (now.trash?.writes !== writes) return undefined;
    const { trash: _, ...rest } = now;
    return Math.min(...nextMs) === Infinity
      ? rest
      : { ...rest, trash: { dueAtMs: Math.min(...nextMs), writes: (writes ?? 0) + 1 } };
  });
}

/** How long to wait before the next look at the entry; Infinity: it is gone. */
async function expire(deps: MirrorDeps, entry: TrashEntry, putAtMs: number): Promise<number> {
  if (await isStaleEntry(deps, entry, putAtMs)) {
    await deps.bucket.delete([keyText(entry)]);
    return Infinity;
  }
  const header = (await readHeader(deps, entry.imageId))?.value;
  // An attempt that may be under way: the older it is, the less likely.
  if (header && header.trash?.id !== entry.trashId) return Math.max(againMs, deps.clock.nowMs() - putAtMs);
  try {
    await removeFromTrash(deps, entry, { byMirroring: true, queue: deps.queue });
  } catch (error) {
    ignoreHeld(error);
    return error instanceof FarsideError && error.code === 'ENOENT' ? againMs : heldMs;
  }
  return againMs;
}
