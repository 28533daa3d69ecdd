// Owns user snapshots: entries of the header that hold a root. Creating, removing and rolling back move pointers only: a
// read and one compare-and-swap, whatever the image's size. Data that nothing reaches any more is collected later.
//
// On a non-primary image user snapshots are mirroring's. Those that a resync kept from the losing history (`keep`) are the
// user's to rename, unprotect and remove.

import { checkName } from '../bucket/keys.ts';
import { FarsideError } from '../errors.ts';
import { assertWritable, openHeader, updateHeader, type HeaderTarget } from './access.ts';
import { assertNotAttached } from './journal/attachment.ts';
import { forgetGone } from './clones/children.ts';
import type { ImageDeps, ImageSpec } from './deps.ts';
import { wholeHead } from './journal/fold.ts';
import { isMirrorSnapshot, shownSnapshots, userSnapshots } from './header.ts';
import type { Child, Header, MirrorNamespace, Snapshot } from './header.ts';
import { findSnapshot, findUserSnapshot, timestampText, type SnapshotRef } from './info.ts';
import { childrenOf, resized } from './clones/lineage.ts';
import type { NameDeps } from './names.ts';
import { takeQuiesced, type QuiesceMode } from './journal/quiesce.ts';
import { assertBelowLimit } from './snapshot-limit.ts';

/** Keeps the header, which every mirror snapshot's state repeats, below a few megabytes. */
export const userSnapshotsMax = 1000;

/**
 * EEXIST: the name is taken. EDQUOT: the image's limit. ENOSPC: too many. Gives the snapshot's id. Of an image in use it holds what
 * its writer has flushed; one that has a hook is quiesced first, or asked to be (quiesce.ts): what that fails with, ETIMEDOUT.
 */
export async function createSnapshot(
  deps: ImageDeps,
  target: HeaderTarget,
  name: string,
  { quiesce = 'required' }: { quiesce?: QuiesceMode } = {},
): Promise<number> {
  const change = (header: Header): Header => withSnapshot(header, { name }, deps.clock.nowMs());
  const create = async (head: HeaderTarget, released = (header: Header): Header => header): Promise<number> => {
    const { value } = await updateHeader(deps, head, (header) => change(released(header)));
    return findUserSnapshot(value, name).id;
  };
  if (typeof target === 'string' || 'etag' in target) return create(target);
  return takeQuiesced(deps, await openHeader(deps, target), {
    mode: quiesce,
    check: change,
    take: async (stored, released) => create(await wholeHead(deps, target, stored), released),
  });
}

export type NewSnapshot = { name: string; isProtected?: boolean };

/** The header with a user snapshot of its head. Throws as `createSnapshot`. */
export function withSnapshot(header: Header, { name, isProtected }: NewSnapshot, nowMs: number): Header {
  checkName('snapshot', name);
  const others = userSnapshots(header);
  assertFree(others, name);
  assertBelowLimit(header, others.length);
  if (others.length >= userSnapshotsMax) {
    throw new FarsideError(
      'ENOSPC',
      `image ${header.name} has ${userSnapshotsMax} snapshots already: remove some first`,
    );
  }
  const snapshot: Snapshot = {
    id: header.nextSnapshotId,
    name,
    root: header.root,
    sizeBytes: header.sizeBytes,
    createdAtMs: nowMs,
    protected: isProtected ?? false,
    namespace: { type: 'user' },
  };
  return { ...header, snapshots: [...header.snapshots, snapshot], nextSnapshotId: header.nextSnapshotId + 1 };
}

export function assertFree(snapshots: Snapshot[], name: string): void {
  if (snapshots.some((one) => one.name === name)) throw new FarsideError('EEXIST', `snapshot ${name} already exists`);
}

/** ENOENT: no such user snapshot. EBUSY: it is protected. */
export async function removeSnapshot(deps: NameDeps, target: HeaderTarget, name: string): Promise<void> {
  await updateOwn(deps, target, name, (header, snapshot) => {
    if (snapshot.protected) throw new FarsideError('EBUSY', `snapshot '${name}' is protected from removal`);
    return { ...header, snapshots: header.snapshots.filter((one) => one.id !== snapshot.id) };
  });
}

/** EEXIST: the new name is taken. */
export async function renameSnapshot(
  deps: NameDeps,
  target: HeaderTarget,
  name: string,
  newName: string,
): Promise<void> {
  checkName('snapshot', newName);
  await updateOwn(deps, target, name, (header, snapshot) => {
    assertFree(userSnapshots(header), newName);
    return replaceSnapshot(header, { ...snapshot, name: newName });
  });
}

/** EBUSY when it is protected already, as in rbd. */
export async function protectSnapshot(deps: NameDeps, target: HeaderTarget, name: string): Promise<void> {
  await updateOwn(deps, target, name, (header, snapshot) => {
    if (snapshot.protected) throw new FarsideError('EBUSY', `snapshot ${name} is protected already`);
    return replaceSnapshot(header, { ...snapshot, protected: true });
  });
}

/** EINVAL when it is not protected, as in rbd. EBUSY: it has clones of format 1. */
export async function unprotectSnapshot(deps: NameDeps, target: HeaderTarget, name: string): Promise<void> {
  const change = (): Promise<void> =>
    updateOwn(deps, target, name, (header, snapshot) => {
      if (!snapshot.protected) throw new FarsideError('EINVAL', `snapshot ${name} is not protected`);
      const holding = childrenOf(header, snapshot.id).filter(({ cloneFormat }) => cloneFormat === 1);
      if (holding.length > 0) throw new LinkedClones(header, holding);
      return replaceSnapshot(header, { ...snapshot, protected: false });
    });
  try {
    await change();
  } catch (error) {
    if (!(error instanceof LinkedClones)) throw error;
    await forgetGone(deps, error.header);
    await change();
  }
}

class LinkedClones extends FarsideError {
  readonly header: Header;

  constructor(header: Header, children: readonly Child[]) {
    const ids = children.map(({ imageId }) => imageId).join(', ');
    super('EBUSY', `cannot unprotect: at least ${children.length} child(ren) [${ids}] in pool '${children[0]!.pool}'`);
    this.header = header;
  }
}

/** The image's content and size become the snapshot's. What was written since is lost. A name is a user snapshot's. */
export async function rollbackSnapshot(
  deps: NameDeps,
  target: HeaderTarget,
  snapshot: string | SnapshotRef,
): Promise<void> {
  const ref = typeof snapshot === 'string' ? { name: snapshot } : snapshot;
  await updateHeader(deps, target, (header) => {
    assertNotAttached(header);
    const { root, sizeBytes } = findSnapshot(header, ref);
    return { ...resized(header, sizeBytes), root };
  });
}

export type Purged = { removed: string[]; protected: string[] };

/** Removes every user snapshot that is not protected, in one step; says which went and which are protected. */
export async function purgeSnapshots(deps: NameDeps, target: HeaderTarget): Promise<Purged> {
  let purged: Purged = { removed: [], protected: [] };
  await updateHeader(
    deps,
    target,
    (header) => {
      const users = userSnapshots(header);
      const names = (isProtected: boolean): string[] =>
        users.filter((one) => one.protected === isProtected).map((one) => one.name);
      purged = { removed: names(false), protected: names(true) };
      const snapshots = header.snapshots.filter((one) => one.namespace.type !== 'user' || one.protected);
      return purged.removed.length === 0 ? undefined : { ...header, snapshots };
    },
    { inTrash: isById(target) },
  );
  return purged;
}

/** A change of one user snapshot, which the user may make on a non-primary image too when it was kept for them. */
async function updateOwn(
  deps: NameDeps,
  target: HeaderTarget,
  name: string,
  change: (header: Header, snapshot: Snapshot) => Header,
): Promise<void> {
  const checked = (header: Header): Header => {
    const snapshot = findUserSnapshot(header, name);
    if (!isKept(snapshot)) assertWritable(header, { inTrash: isById(target) });
    return { ...change(header, snapshot), modifiedAtMs: deps.clock.nowMs() };
  };
  // I8 is checked in `checked`, which knows the snapshot.
  await updateHeader(deps, target, checked, { byMirroring: true });
}

/** Snapshots keep an image in the trash from being removed: they can be removed there. */
const isById = (target: HeaderTarget): boolean =>
  typeof target !== 'string' && 'byId' in target && target.byId === true;

const isKept = (snapshot: Snapshot): boolean => snapshot.namespace.type === 'user' && snapshot.namespace.keep === true;

function replaceSnapshot(header: Header, snapshot: Snapshot): Header {
  return { ...header, snapshots: header.snapshots.map((one) => (one.id === snapshot.id ? snapshot : one)) };
}

/** rbd's `snap ls` JSON; `namespace` only with `all`. */
export type SnapshotListing = {
  id: number;
  name: string;
  size: number;
  protected: 'true' | 'false';
  timestamp: string;
  namespace?: { type: 'user' } | { type: 'trash'; original_name: string } | MirrorListing;
};

type MirrorListing = {
  type: 'mirror';
  state: 'primary' | 'non-primary' | 'demoted';
  mirror_peer_uuids: string[];
  complete: boolean;
  /** The rest on copies only. */
  primary_mirror_uuid?: string;
  primary_snap_id?: number;
  last_copied_object_number?: number;
};

/** User snapshots; with `all` mirror snapshots too, oldest first. Two reads. */
export async function listSnapshots(
  deps: NameDeps,
  spec: ImageSpec,
  options: { all?: boolean } = {},
): Promise<SnapshotListing[]> {
  const { value: header } = await openHeader(deps, spec);
  const all = options.all === true;
  const shown = all ? shownSnapshots(header) : userSnapshots(header);
  return shown.map((snapshot) => ({
    ...snapshotListing(snapshot),
    ...(all ? { namespace: namespaceListing(header, snapshot) } : {}),
  }));
}

function snapshotListing(snapshot: Snapshot): SnapshotListing {
  return {
    id: snapshot.id,
    name: snapshot.name,
    size: snapshot.sizeBytes,
    protected: snapshot.protected ? 'true' : 'false',
    timestamp: timestampText(snapshot.createdAtMs),
  };
}

function namespaceListing(header: Header, snapshot: Snapshot): NonNullable<SnapshotListing['namespace']> {
  const { namespace } = snapshot;
  if (namespace.type === 'trash') return { type: 'trash', original_name: namespace.originalName };
  if (!isMirrorSnapshot(snapshot)) return { type: 'user' };
  const { state, complete, mirrorPeerUuids, ...source } = snapshot.namespace;
  return {
    type: 'mirror',
    state: mirrorStateText[state],
    mirror_peer_uuids: mirrorPeerUuids,
    complete,
    ...(state === 'non-primary' || state === 'non-primary-demoted' ? copyListing(header, snapshot, source) : {}),
  };
}

const mirrorStateText: Record<MirrorNamespace['state'], MirrorListing['state']> = {
  primary: 'primary',
  'primary-demoted': 'demoted',
  'non-primary': 'non-primary',
  'non-primary-demoted': 'demoted',
};

/** A copy appears in the header when it is complete, so its last copied object is the last, as rbd shows it. */
function copyListing(
  header: Header,
  snapshot: Snapshot,
  source: Pick<MirrorNamespace, 'primaryMirrorUuid' | 'primarySnapId'>,
): Partial<MirrorListing> {
  return {
    primary_mirror_uuid: source.primaryMirrorUuid ?? '',
    primary_snap_id: source.primarySnapId ?? 0,
    last_copied_object_number: Math.ceil(snapshot.sizeBytes / header.objectBytes),
  };
}
