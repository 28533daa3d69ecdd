// Owns the link of a replica of a clone to the replica of its parent. It is made once, before the first sync, which then moves
// only what the clone has changed: the root of the parent's snapshot is here, so it counts as held. A replica whose parent has
// not arrived is not begun; its image stays pending, and ticks look again.
//
// The order is that of any clone (lib/image/clones/children.ts): the parent's replica registers the child, then the child's header is
// swapped from the version that was read before. Roots have one identity at all sites, so the snapshot is found by its root.

import { replaceDocument, type Stored } from '../../bucket/document.ts';
import { FarsideError } from '../../errors.ts';
import { readHeader, updateHeader } from '../../image/access.ts';
import { parentLink } from '../../image/clones/clone.ts';
import { flattenStep } from '../../image/clones/flatten.ts';
import { isMirrorSnapshot, sameRoot, type Header, type ImageState, type Snapshot } from '../../image/header.ts';
import { withChild } from '../../image/clones/lineage.ts';
import { findImage } from '../peers/catalog.ts';
import type { MirrorDeps } from '../deps.ts';
import type { Message, Outcome } from '../messages.ts';
import type { PresentImage } from '../peer-protocol.ts';

type StateParent = NonNullable<ImageState['parent']>;

/** `none`: the image is to be a replica without a parent. `waiting`: the parent's replica is not here, or not so far. */
export type FoundParent =
  | { kind: 'none' }
  | { kind: 'waiting'; description: string }
  | { kind: 'found'; parent: Stored<Header>; link: StateParent };

/** Where the replica of the parent is that the target snapshot needs. No request unless it is a clone's. */
export async function findParent(deps: MirrorDeps, remote: PresentImage, targetSnapId: number): Promise<FoundParent> {
  const link = remote.snapshots.find(({ id }) => id === targetSnapId)?.namespace.image.parent;
  // Flattened since: then all of it comes from there.
  if (!link || remote.parent?.imageId !== link.imageId) return { kind: 'none' };
  const { pool, name, globalId } = remote.parent;
  if (globalId === undefined) return waiting(`the parent image ${pool}/${name} is not mirrored`);
  const parent = await findImage(deps, pool, globalId);
  if (!parent || !snapshotOf(parent.value, link)) return waiting(`waiting for the parent image ${pool}/${name}`);
  return { kind: 'found', parent, link };
}

const waiting = (description: string): FoundParent => ({ kind: 'waiting', description });

/** A user's snapshot rather than one of mirroring, which may go sooner. */
function snapshotOf(parent: Header, { root }: StateParent): Snapshot | undefined {
  const same = parent.snapshots.filter((snapshot) => sameRoot(snapshot.root, root));
  return same.find((snapshot) => !isMirrorSnapshot(snapshot)) ?? same[0];
}

/** The linked header; undefined when one of the two changed meanwhile: look again. */
export async function linkParent(
  deps: MirrorDeps,
  child: Stored<Header>,
  { parent, link }: Extract<FoundParent, { kind: 'found' }>,
): Promise<Stored<Header> | undefined> {
  const { imageId, pool } = child.value;
  const { cloneFormat } = link;
  const sinceMs = deps.clock.nowMs();
  const register = (header: Header): Header => {
    const snapshot = snapshotOf(header, link);
    if (!snapshot) throw new FarsideError('EAGAIN', 'the snapshot of the parent went meanwhile', { retry: 'now' });
    return withChild(header, { imageId, pool, snapshotId: snapshot.id, cloneFormat, sinceMs });
  };
  const { value } = await updateHeader(deps, parent, register, { byMirroring: true });
  const snapshot = snapshotOf(value, link)!;
  const linked = { ...parentLink(value, snapshot, cloneFormat), overlapBytes: link.overlapBytes };
  return replaceDocument(deps.bucket, child, { ...child.value, parent: linked }, deps.random);
}

/** A `flatten` message: one step of what `completedHeader` found due, then itself again. Ticks go on without it (sync.ts). */
export async function handleFlatten(
  deps: MirrorDeps,
  message: Extract<Message, { type: 'flatten' }>,
): Promise<Outcome> {
  const stored = await readHeader(deps, message.imageId);
  const { done } = stored ? await flattenDue(deps, stored) : { done: true };
  if (!done) await deps.queue.send([message]);
  return { kind: 'ack' };
}

/** One bounded step, if any is due. */
export async function flattenDue(deps: MirrorDeps, stored: Stored<Header>): Promise<{ done: boolean }> {
  if (!isFlattenDue(stored.value)) return { done: true };
  return flattenStep(deps, stored, { byMirroring: true });
}

export const isFlattenDue = (header: Header): boolean => header.parent?.flatten?.due === true;
