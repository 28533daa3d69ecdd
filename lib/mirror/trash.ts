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

import { keyText, parseKey, prefixes } from '../bucket/keys.ts';
import { FarsideError } from '../errors.ts';
import { readHeader, updateHeader } from '../image/access.ts';
import { userSnapshots, type Header } from '../image/header.ts';
import { freeName } from '../image/names.ts';
import { optionOf } from '../image/options.ts';
import { dropEntry, isStaleEntry, newTrash, putEntry, removeFromTrash } from '../image/trash.ts';
import type { TrashEntry } from '../image/trash.ts';
import { removeFromCatalog } from './catalog.ts';
import { recentLevels } from './config.ts';
import type { MirrorDeps } from './deps.ts';
import { updatePool, type Pool } from './pool.ts';

/** Replicas removed by one tick: five requests each. */
const expiredPerTickMax = 50;
/** When a look was cut short, or something is still going; when clones hold a replica. */
const againMs = 60_000;
const heldMs = 60 * 60_000;

/** How long `rm` keeps an image in the trash; undefined: not at all. */
export async function removalDelaySeconds(deps: MirrorDeps, header: Header): Promise<number | undefined> {
  const levels = await recentLevels(deps, header.pool, header.meta);
  return optionOf('rbd_move_to_trash_on_remove', levels)
    ? optionOf('rbd_move_to_trash_on_remove_expire_seconds', levels)
    : undefined;
}

/** How long a replica without a primary is kept. */
export const deleteDelaySeconds = async (deps: MirrorDeps, header: Header): Promise<number> =>
  optionOf('rbd_mirroring_delete_delay', await recentLevels(deps, header.pool, header.meta));

/**
 * A replica whose primary gave up mirroring becomes an ordinary image in the trash, with its user snapshots. `isOurs`: whether
 * the header still is one that mirroring may take away; if not, nothing happens.
 */
export async function trashReplica(
  deps: MirrorDeps,
  header: Header,
  delaySeconds: number,
  isOurs: (header: Header) => boolean,
): Promise<void> {
  const { pool, imageId } = header;
  const trash = newTrash(deps, 'mirroring', delaySeconds);
  await putEntry(deps, header, trash);
  await noteDue(deps, pool, trash.deferredUntilMs);
  const move = (now: Header): Header | undefined => (isOurs(now) ? { ...unmirrored(now), trash } : undefined);
  const { value } = await updateHeader(deps, imageId, move, { byMirroring: true });
  if (value.trash?.id !== trash.id) return dropEntry(deps, header, trash);
  await letGo(deps, value, header.mirror?.globalId);
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
  if (header && header.trash?.id !== entry.trashId) return againMs; // an attempt that may be under way
  try {
    await removeFromTrash(deps, entry, { byMirroring: true, queue: deps.queue });
  } catch (error) {
    if (!(error instanceof FarsideError) || (error.code !== 'ENOENT' && error.code !== 'ENOTEMPTY')) throw error;
    return error.code === 'ENOENT' ? againMs : heldMs;
  }
  return againMs;
}
