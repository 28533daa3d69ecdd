// Owns the trash of a pool: images that were removed but can be had back. The header decides: an image is in the trash when
// its header says so (`trash`), from one compare-and-swap to another. Its name is free meanwhile.
//
// The trash is listed by write-once index entries, whose keys sort by the time when the image may go. An
// entry is made before the header is swapped and removed after it is swapped back, so no image in the trash lacks one; an entry whose
// header does not name it counts for nothing. Its id is drawn anew each time, so a late deletion takes no other's entry:
//
//   trash mv                                  trash mv (at the same time)
//   puts entry 1                              puts entry 2
//   compare-and-swap: in the trash as 1
//                                             compare-and-swap fails; reads again: no image of that name
//                                             deletes entry 2

import { backOff, raceBackoff } from '../bucket/backoff.ts';
import { racesMax, readDocument, replaceDocument, type Stored } from '../bucket/document.ts';
import type { ObjectMeta } from '../bucket/driver.ts';
import { checkName, keyText, parseKey, prefixes, type Key } from '../bucket/keys.ts';
import { FarsideError } from '../errors.ts';
import { isNonPrimary, openHeader, readHeader, updateHeader } from './access.ts';
import { assertNotAttached, ownerOf } from './journal/attachment.ts';
import { forgetGone, unlinkFromParent } from './clones/children.ts';
import type { ImageSpec, RemovalQueue } from './deps.ts';
import { headerSchema, userSnapshots, type Header } from './header.ts';
import { isImageId, parseImageId, type ImageId } from './ids.ts';
import { linkedClonesText } from './images.ts';
import { parentInfo, timestampText, type ParentInfo } from './info.ts';
import { childrenOf } from './clones/lineage.ts';
import {
  assertPlace,
  assertPool,
  checkSpec,
  claimName,
  freeName,
  headerKey,
  specText,
  type NameDeps,
} from './names.ts';

export type Trash = NonNullable<Header['trash']>;
export type TrashEntry = Extract<Key, { kind: 'trash' }>;

/** An image in the trash: by its id, for its name may be another's. */
export type TrashSpec = { pool: string; namespace: string; imageId: string };

/** Entries looked at by one call of `purgeTrash`: four requests each. */
const purgedPerCallMax = 50;
/** A thousand years: far below what dates can say. */
export const delaySecondsMax = 1000 * 366 * 86_400;

export function newTrash(deps: NameDeps, source: Trash['source'], delaySeconds: number): Trash {
  const deletedAtMs = deps.clock.nowMs();
  return { id: deps.random.uuid(), source, deletedAtMs, deferredUntilMs: deletedAtMs + delaySeconds * 1000 };
}

const entryKey = ({ pool, namespace, imageId }: Header, { id, source, deferredUntilMs }: Trash): string =>
  keyText({
    kind: 'trash',
    pool,
    source,
    dueSeconds: Math.ceil(deferredUntilMs / 1000),
    imageId,
    trashId: id,
    namespace,
  });

/** Before the swap that makes `trash` true. */
export async function putEntry(deps: NameDeps, header: Header, trash: Trash): Promise<void> {
  await deps.bucket.create(entryKey(header, trash), new TextEncoder().encode(JSON.stringify({ name: header.name })));
}

/** After the swap that makes `trash` untrue, or when it surely never was true. */
export const dropEntry = (deps: Pick<NameDeps, 'bucket'>, header: Header, trash: Trash): Promise<void> =>
  deps.bucket.delete([entryKey(header, trash)]);

/** `forClones`: there is nothing but clones that keeps the image from being removed, and it goes with the last of them. */
export type ToTrash = { delaySeconds: number; forClones?: boolean };

/** `trash mv`. EINVAL: non-primary, in rbd's words. EBUSY: mirrored (disable mirroring first). */
export async function moveToTrash(
  deps: NameDeps,
  spec: ImageSpec,
  { delaySeconds, forClones = false }: ToTrash,
): Promise<ImageId> {
  const { value: found } = await openHeader(deps, spec);
  assertTrashable(found);
  const trash: Trash = { ...newTrash(deps, 'user', delaySeconds), ...(forClones && { forClones }) };
  await putEntry(deps, found, trash);
  const move = (header: Header): Header => {
    if (header.imageId !== found.imageId) throw new FarsideError('ENOENT', `error opening image ${spec.image}`);
    assertTrashable(header);
    if (forClones && !isHeldByClones(header)) throw clonesChanged(spec);
    return { ...header, trash };
  };
  try {
    await updateHeader(deps, spec, move, { byMirroring: true }); // `assertTrashable` has other words than EROFS
  } catch (error) {
    // An unclear swap may have landed, or may land yet.
    if (error instanceof FarsideError && error.retry === 'never') await dropEntry(deps, found, trash);
    throw error;
  }
  await freeName(deps, spec, found.imageId);
  return parseImageId(found.imageId);
}

function assertTrashable(header: Header): void {
  if (isNonPrimary(header)) throw new FarsideError('EINVAL', `image ${header.name} is non-primary`);
  assertNotAttached(header);
  if (header.mirror) throw new FarsideError('EBUSY', 'image is mirrored: disable mirroring of it first');
}

/** Of an image that could be removed but for clones, of snapshots that are in the trash already. */
export const isHeldByClones = (header: Header): boolean =>
  childrenOf(header).length > 0 && userSnapshots(header).length === 0 && ownerOf(header) === undefined;

const clonesChanged = ({ image }: ImageSpec): FarsideError =>
  new FarsideError('EAGAIN', `the clones or snapshots of image ${image} changed meanwhile; try again`, {
    retry: 'never', // by itself: the whole removal is to be decided anew
  });

const absent = (): FarsideError => new FarsideError('ENOENT', 'image does not exist in trash');

/** ENOENT unless an image of that id is in the trash of this pool and namespace. */
async function openTrashed(deps: NameDeps, spec: TrashSpec): Promise<Stored<Header> & { value: { trash: Trash } }> {
  checkTrashSpec(spec);
  const stored = await readHeader(deps, spec.imageId);
  if (!stored || !isTrashed(stored.value, spec)) {
    await assertPool(deps, spec.pool);
    throw absent();
  }
  return { ...stored, value: stored.value };
}

const isTrashed = (header: Header, { pool, namespace }: TrashSpec): header is Header & { trash: Trash } =>
  header.trash !== undefined && header.pool === pool && header.namespace === namespace;

function checkTrashSpec({ pool, namespace, imageId }: TrashSpec): void {
  checkName('pool', pool);
  if (namespace !== '') checkName('namespace', namespace);
  if (!isImageId(imageId)) throw absent();
}

/** `trash restore`, by `name` when it is given. EEXIST: the name is taken. */
export async function restoreFromTrash(deps: NameDeps, spec: TrashSpec, name?: string): Promise<ImageSpec> {
  for (let lostCount = 0; lostCount <= racesMax; lostCount++) {
    if (lostCount > 0) await backOff(raceBackoff, lostCount - 1, deps);
    const stored = await openTrashed(deps, spec);
    const { trash, ...rest } = stored.value;
    const target: ImageSpec = { ...spec, image: name ?? rest.name };
    checkSpec(target);
    // After the header was read, as names.ts asks.
    if ((await claimName(deps, target, parseImageId(spec.imageId))) === 'taken')
      throw new FarsideError('EEXIST', `image ${specText(target)} already exists`);
    const value = { ...rest, name: target.image };
    if (await replaceDocument(deps.bucket, stored, value, deps.random)) {
      await dropEntry(deps, value, trash);
      return target;
    }
  }
  throw new FarsideError('EAGAIN', `image ${spec.imageId} is changed by others too often; try again`, {
    retry: 'later',
  });
}

export type TrashRemoval = {
  /** Also before its time. */
  force?: boolean;
  /** Mirroring removes replicas with their snapshots. */
  byMirroring?: boolean;
  /** Only as it was put there then: not if it was restored meanwhile, and put there again for another time. */
  trashId?: string;
  queue: RemovalQueue;
};

/** `trash rm`: gone at the swap, its objects in the background. EPERM: not yet. ENOTEMPTY: it has snapshots. */
export async function removeFromTrash(deps: NameDeps, spec: TrashSpec, options: TrashRemoval): Promise<void> {
  checkTrashSpec(spec);
  const found = await readDocument(deps.bucket, headerKey(spec.imageId), headerSchema);
  if (found?.value.removing && isTrashed(found.value, spec)) {
    // A removal whose message was lost is woken again.
    await options.queue.send([{ type: 'remove', imageId: spec.imageId }]);
    throw absent();
  }
  const stored = await openTrashed(deps, spec);
  // What is registered may have died: then it does not stand in the way.
  const hasClones = childrenOf(stored.value).length > 0;
  if (hasClones) await forgetGone(deps, stored.value);
  const mark = (header: Header): Header => {
    if (!isTrashed(header, spec) || header.trash.id !== (options.trashId ?? header.trash.id)) throw absent();
    assertRemovable(header, deps.clock.nowMs(), options);
    return { ...header, removing: true };
  };
  const { value } = await updateHeader(deps, hasClones ? spec.imageId : stored, mark, { byMirroring: true });
  await unlinkFromParent(deps, value);
  await options.queue.send([{ type: 'remove', imageId: spec.imageId }]);
}

export const tooEarlyText = 'Deferment time has not expired, please use --force if you really want to remove the image';

function assertRemovable(header: Header & { trash: Trash }, nowMs: number, options: TrashRemoval): void {
  if (options.force !== true && nowMs < header.trash.deferredUntilMs) {
    throw new FarsideError('EPERM', tooEarlyText);
  }
  if (childrenOf(header).length > 0) throw new FarsideError('ENOTEMPTY', linkedClonesText);
  if (options.byMirroring !== true && userSnapshots(header).length > 0)
    throw new FarsideError('ENOTEMPTY', 'image has snapshots - not removing: restore it and remove them first');
}

/** rbd's `trash ls -l` JSON, with the time when the image may be removed. */
export type TrashListing = {
  id: string;
  name: string;
  source: 'USER' | 'USER_PARENT' | 'MIRRORING';
  deleted_at: string;
  status: string;
  deferment_end_time: string;
  /** Of a clone. */
  parent?: ParentInfo;
};
export type TrashPage = { images: TrashListing[]; next?: string };
export type TrashListOptions = {
  /** Also what mirroring put there. */
  all: boolean;
  after?: string | undefined;
  limit?: number | undefined;
};

/** What may go first comes first. One LIST, and a read for each image. */
export async function listTrash(
  deps: NameDeps,
  pool: string,
  namespace: string,
  options: TrashListOptions,
): Promise<TrashPage> {
  checkName('pool', pool);
  if (namespace !== '') checkName('namespace', namespace);
  const prefix = options.all ? prefixes.trash(pool) : prefixes.trashOf(pool, 'user');
  const after = options.after === undefined ? undefined : prefix + options.after;
  const page = await deps.bucket.list({ prefix, after, limit: options.limit ?? 1000 });
  const nowMs = deps.clock.nowMs();
  const images: TrashListing[] = [];
  for (const entry of entriesOf(page.objects)) {
    const header = entry.namespace === namespace ? await headerOfEntry(deps, entry) : undefined;
    if (header) images.push(trashListing(header, nowMs, await parentInfo(deps, header)));
  }
  if (images.length === 0 && after === undefined) await assertPlace(deps, pool, namespace);
  const last = page.objects.at(-1)?.key.slice(prefix.length);
  return { images, ...(page.more && last !== undefined ? { next: last } : {}) };
}

const entriesOf = (objects: readonly Pick<ObjectMeta, 'key'>[]): TrashEntry[] =>
  objects.map(({ key }) => parseKey(key)).filter((key) => key?.kind === 'trash');

/** The image that an entry stands for; undefined when it stands for none (any more, or yet). */
async function headerOfEntry(deps: NameDeps, entry: TrashEntry): Promise<(Header & { trash: Trash }) | undefined> {
  const header = (await readHeader(deps, entry.imageId))?.value;
  return header && isTrashed(header, entry) && header.trash.id === entry.trashId ? header : undefined;
}

function sourceText({ source, forClones }: Trash): TrashListing['source'] {
  if (source === 'mirroring') return 'MIRRORING';
  return forClones === true ? 'USER_PARENT' : 'USER';
}

function trashListing(
  { imageId, name, trash }: Header & { trash: Trash },
  nowMs: number,
  parent: ParentInfo | undefined,
): TrashListing {
  const until = timestampText(trash.deferredUntilMs);
  return {
    id: imageId,
    name,
    source: sourceText(trash),
    deleted_at: timestampText(trash.deletedAtMs),
    status: nowMs < trash.deferredUntilMs ? `protected until ${until}` : `expired at ${until}`,
    deferment_end_time: until,
    ...(parent && { parent }),
  };
}

type Page = { after?: string | undefined; queue: RemovalQueue };
export type PurgeOptions = Page & { expiredBeforeMs: number };
/** `expiredBeforeMs`: of a namespace, at most `endMs`; undefined: nothing of it goes. */
export type PurgeRule = Page & { endMs: number; expiredBeforeMs: (namespace: string) => number | undefined };
/** `kept`: images that could not be removed, as they have snapshots. `next`: the `after` of the following call. */
export type Purged = { removed: string[]; kept: string[]; next?: string };

/** `trash purge`, a bounded part of it: what users put there and what had expired by then. */
export async function purgeTrash(
  deps: NameDeps,
  pool: string,
  namespace: string,
  { expiredBeforeMs, ...page }: PurgeOptions,
): Promise<Purged> {
  if (page.after === undefined) await assertPlace(deps, pool, namespace);
  return purgeNamespaces(deps, pool, {
    ...page,
    endMs: expiredBeforeMs,
    expiredBeforeMs: (one) => (one === namespace ? expiredBeforeMs : undefined),
  });
}

/** The same, of any namespaces at once. */
export async function purgeNamespaces(
  deps: NameDeps,
  pool: string,
  { endMs, expiredBeforeMs, after, queue }: PurgeRule,
): Promise<Purged> {
  checkName('pool', pool);
  await assertPool(deps, pool);
  const prefix = prefixes.trashOf(pool, 'user');
  const from = after === undefined ? undefined : prefix + after;
  const page = await deps.bucket.list({ prefix, after: from, limit: purgedPerCallMax });
  // A key has whole seconds, rounded up; the header says exactly.
  const due = entriesOf(page.objects).filter((entry) => (entry.dueSeconds - 1) * 1000 < endMs);
  const purged: Purged = { removed: [], kept: [] };
  for (const entry of due) {
    const limitMs = expiredBeforeMs(entry.namespace) ?? -Infinity;
    const header = limitMs <= (entry.dueSeconds - 1) * 1000 ? undefined : await headerOfEntry(deps, entry);
    if (!header || header.trash.deferredUntilMs > limitMs) continue;
    const outcome = await purgeOne(deps, entry, queue);
    if (outcome !== undefined) purged[outcome].push(entry.imageId);
  }
  const last = page.objects.at(-1)?.key.slice(prefix.length);
  // Entries sort by time: one that is not due ends it.
  const isOver = !page.more || last === undefined || due.length < page.objects.length;
  return isOver ? purged : { ...purged, next: last };
}

/** Undefined: somebody else removed it, or had it back. */
async function purgeOne(
  deps: NameDeps,
  entry: TrashEntry,
  queue: RemovalQueue,
): Promise<'removed' | 'kept' | undefined> {
  try {
    await removeFromTrash(deps, entry, { force: true, trashId: entry.trashId, queue });
    return 'removed';
  } catch (error) {
    if (error instanceof FarsideError && error.code === 'ENOTEMPTY') return 'kept';
    if (error instanceof FarsideError && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Longer than any attempt lasts between its entry and its swap. */
const attemptMsMax = 24 * 60 * 60 * 1000;

/** Whether an entry stands for no image, and no longer may come to: what is left of an attempt that died. */
export async function isStaleEntry(deps: NameDeps, entry: TrashEntry, putAtMs: number): Promise<boolean> {
  if (deps.clock.nowMs() - putAtMs < attemptMsMax) return false;
  // Not `readHeader`: an image that is being removed keeps its entry to the end.
  const header = await readDocument(deps.bucket, headerKey(entry.imageId), headerSchema);
  return header?.value.trash?.id !== entry.trashId;
}

/** Whether anything is in the trash of a pool, or of one of its namespaces. */
export async function hasTrash(deps: NameDeps, pool: string, namespace?: string): Promise<boolean> {
  for await (const { key } of deps.bucket.listAll(prefixes.trash(pool))) {
    const entry = parseKey(key);
    if (entry?.kind !== 'trash' || (namespace !== undefined && entry.namespace !== namespace)) continue;
    if (await headerOfEntry(deps, entry)) return true;
  }
  return false;
}
