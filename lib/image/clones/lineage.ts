// Owns what a header says of clones: which it has, and what it keeps for them. Pure.
//
// Invariant: a snapshot that a registered child was made from is in its parent's header, whatever is done to the parent. It is
// kept at the one door of header changes (`keepParents` in access.ts `updateHeader`, complete.ts): a snapshot that goes while
// clones of it are left moves to the trash namespace, and goes from there with the last of them.

import { hash128 } from '../format/digest.ts';
import type { Child, Header, Snapshot } from '../header.ts';

export const childrenOf = (header: Header, snapshotId?: number): Child[] =>
  (header.children ?? []).filter((child) => snapshotId === undefined || child.snapshotId === snapshotId);

/** Registering twice changes nothing but the time. */
export const withChild = (header: Header, child: Child): Header => ({
  ...header,
  children: [...childrenOf(header).filter(({ imageId }) => imageId !== child.imageId), child],
});

/** Undefined when none of them is registered. A snapshot in the trash goes with its last child, and so does an image that is there for them. */
export function withoutChildren(header: Header, isGone: (child: Child) => boolean): Header | undefined {
  const left = childrenOf(header).filter((child) => !isGone(child));
  if (left.length === childrenOf(header).length) return undefined;
  const freed = new Set(childrenOf(header).map(({ snapshotId }) => snapshotId));
  for (const { snapshotId } of left) freed.delete(snapshotId);
  const { children: _, ...rest } = header;
  const snapshots = header.snapshots.filter(({ id, namespace }) => namespace.type !== 'trash' || !freed.has(id));
  const after: Header = { ...rest, snapshots, ...(left.length > 0 ? { children: left } : {}) };
  return isSpent(after) ? { ...after, removing: true } : after;
}

/** Snapshots that a user made by the image's id keep it: they go first. */
const isSpent = ({ trash, children, snapshots }: Header): boolean =>
  trash?.forClones === true && children === undefined && snapshots.length === 0;

/** What is cut off a clone is not its parent's any more when it grows again. */
export function resized(header: Header, sizeBytes: number): Header {
  if (!header.parent) return { ...header, sizeBytes };
  const overlapBytes = Math.min(header.parent.overlapBytes, sizeBytes);
  return { ...header, sizeBytes, parent: { ...header.parent, overlapBytes } };
}

/** `after`, with every snapshot of `before` that children of it need. */
export function keepParents(before: Header, after: Header): Header {
  const needed = new Set(childrenOf(after).map(({ snapshotId }) => snapshotId));
  if (needed.size === 0) return after;
  for (const { id } of after.snapshots) needed.delete(id);
  const kept = before.snapshots.filter(({ id }) => needed.has(id)).map((snapshot) => trashed(before, snapshot));
  if (kept.length === 0) return after;
  return { ...after, snapshots: [...after.snapshots, ...kept].toSorted((a, b) => a.id - b.id) };
}

function trashed({ imageId }: Header, snapshot: Snapshot): Snapshot {
  const { id, root, sizeBytes, createdAtMs, name, namespace } = snapshot;
  if (namespace.type === 'trash') return snapshot;
  return {
    id,
    name: trashName(imageId, id),
    root,
    sizeBytes,
    createdAtMs,
    protected: false,
    namespace: { type: 'trash', originalName: name, originalType: namespace.type },
  };
}

/** As a uuid looks; the same whenever it is worked out. */
function trashName(imageId: string, snapshotId: number): string {
  const hex = hash128(Buffer.from(`${imageId}@${snapshotId}`)).toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}
