// Owns the locks of an image, as rbd shows them. Advisory locks (`lock add`) are words between users, kept in the header: they keep
// nobody from writing, they are not mirrored, and no verb but `lock add` looks at them. Who really holds an image (`holderOf`)
// is shown among them, as rbd shows the lock that a client takes by itself (`auto …`).

import { FarsideError } from '../errors.ts';
import type { Random } from '../random.ts';
import { openHeader, updateHeader, type HeaderTarget } from './access.ts';
import { ownerOf } from './journal/attachment.ts';
import type { ImageDeps, ImageSpec } from './deps.ts';
import { closeEpoch } from './journal/epochs.ts';
import { mirrorSnapshots, type Header, type JournalOwner, type Locker } from './header.ts';
import type { NameDeps } from './names.ts';

/** Keeps the header small; a lock that many share has other means. */
export const lockersMax = 256;
/** Of an id, a tag, a locker's name and an address. */
export const lockTextMax = 255;

export type LockType = 'exclusive' | 'shared';
/** `tag`: of a shared lock. */
export type LockListing = { type: LockType; tag?: string; lockers: Omit<Locker, 'sinceMs'>[] };
/** rbd's `status`. */
export type Watcher = { address: string; client: number; cookie: number };
export type ImageStatus = { watchers: Watcher[] };

/** Who has the image open for writing: the one place that knows. Its attached writer; on a replica that follows a primary, mirroring. */
function holderOf(header: Header): Watcher | undefined {
  const owner = ownerOf(header);
  if (owner) return watcherOf(owner);
  return mirrorSnapshots(header).at(-1)?.namespace.state === 'non-primary' ? mirroringOf(header) : undefined;
}

/** The numbers of its lock, which it drew itself. */
const watcherOf = ({ address, locker, lockId }: JournalOwner): Watcher => ({
  address,
  client: Number(/\d+$/.exec(locker)?.[0] ?? 0),
  cookie: Number(/\d+$/.exec(lockId)?.[0] ?? 0),
});

/** A site has no client numbers: they are made of the image's id, and so are the same each time. */
function mirroringOf({ imageId }: Header): Watcher {
  const client = Number.parseInt(imageId.slice(0, 6), 16);
  return { address: `0.0.0.0:0/${client}`, client, cookie: Number.parseInt(imageId.slice(0, 12), 16) };
}

/** Those who have the image open. */
export function watchersOf(header: Header): Watcher[] {
  const holder = holderOf(header);
  return holder ? [holder] : [];
}

/** The lock of whoever has the image open for writing. */
const ownLock = ({ client, cookie, address }: Watcher): Omit<Locker, 'sinceMs'> => ({
  id: `auto ${cookie}`,
  locker: `client.${client}`,
  address,
});

/** Undefined: nobody holds the image, or says so. */
export function lockOf(header: Header): LockListing | undefined {
  const holder = holderOf(header);
  const lockers = [...(holder ? [ownLock(holder)] : []), ...(header.locks?.lockers ?? []).map(shown)];
  if (lockers.length === 0) return undefined;
  const tag = header.locks?.tag;
  return holder || tag === undefined ? { type: 'exclusive', lockers } : { type: 'shared', tag, lockers };
}

const shown = ({ id, locker, address }: Locker): LockListing['lockers'][number] => ({ id, locker, address });

export async function listLocks(deps: NameDeps, spec: ImageSpec): Promise<LockListing | undefined> {
  return lockOf((await openHeader(deps, spec)).value);
}

export async function imageStatus(deps: NameDeps, spec: ImageSpec): Promise<ImageStatus> {
  return { watchers: watchersOf((await openHeader(deps, spec)).value) };
}

/** `tag`: shared, with all that say the same tag. `locker`: who; drawn unless given, as each rbd command is a client of its own. */
export type NewLock = {
  id: string;
  tag?: string | undefined;
  locker?: string | undefined;
  address?: string | undefined;
};

/**
 * Gives the locker's name. EBUSY: another holds it, and the two cannot share. EEXIST: this very locker does. ENOSPC: too many. On a
 * non-primary image too.
 */
export async function addLock(deps: NameDeps, target: HeaderTarget, lock: NewLock): Promise<string> {
  const locker = lock.locker ?? newLocker(deps.random);
  const sinceMs = deps.clock.nowMs();
  const address = lock.address ?? '0.0.0.0:0/0';
  const add = (header: Header): Header => {
    checkAddable(header, lock, locker);
    const lockers = [...(header.locks?.lockers ?? []), { id: lock.id, locker, address, sinceMs }];
    return { ...header, locks: { ...(lock.tag === undefined ? {} : { tag: lock.tag }), lockers } };
  };
  await updateHeader(deps, target, add, { byMirroring: true });
  return locker;
}

/** 31 bits: as long as those of a cluster, and unlikely to be drawn twice. */
const newLocker = (random: Random): string => `client.${Buffer.from(random.bytes(4)).readUInt32LE() >>> 1}`;

function checkAddable(header: Header, { id, tag }: NewLock, locker: string): void {
  const { tag: heldTag, lockers = [] } = header.locks ?? {};
  if (lockers.some((one) => one.id === id && one.locker === locker))
    throw new FarsideError('EEXIST', `${locker} holds lock '${id}' already`);
  if (holderOf(header)) throw held('it is open for writing');
  if (lockers.length === 0) return;
  if (heldTag === undefined) throw held('it is locked exclusively');
  if (tag === undefined) throw held('others share a lock of it');
  if (heldTag !== tag) throw held(`it is locked with the tag '${heldTag}'`);
  if (lockers.length >= lockersMax) throw new FarsideError('ENOSPC', `${lockersMax} share the lock already`);
}

const held = (why: string): FarsideError =>
  new FarsideError('EBUSY', `lock is already held by someone else: ${why}; 'farside lock ls' says by whom`);

/**
 * The lock of an attached writer: the writer is shut out, and what it flushed stays. ENOENT: no such lock. EBUSY: it is that of
 * mirroring, which alone lets go of it.
 */
export async function removeLock(
  deps: ImageDeps,
  spec: ImageSpec,
  { id, locker }: { id: string; locker: string },
): Promise<void> {
  const opened = await openHeader(deps, spec);
  const owner = ownerOf(opened.value);
  // Another epoch, of a writer who came meanwhile, is left alone.
  if (owner?.lockId === id && owner.locker === locker)
    return closeEpoch(deps, opened.value.imageId, opened.value.journal!.folded.epoch);
  const isIt = (one: { id: string; locker: string }): boolean => one.id === id && one.locker === locker;
  const remove = (header: Header): Header => {
    const { locks, ...rest } = header;
    const left = (locks?.lockers ?? []).filter((one) => !isIt(one));
    if (left.length < (locks?.lockers.length ?? 0))
      return left.length === 0 ? rest : { ...rest, locks: { ...locks, lockers: left } };
    const holder = holderOf(header);
    if (holder && isIt(ownLock(holder)))
      throw new FarsideError('EBUSY', `the image follows a primary: mirroring holds this lock until it is promoted`);
    throw new FarsideError('ENOENT', `nobody called ${locker} holds lock '${id}'`);
  };
  await updateHeader(deps, opened, remove, { byMirroring: true });
}
