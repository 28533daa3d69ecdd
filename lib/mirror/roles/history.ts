// Owns the identity of a point in a mirrored image's history. Pure.
//
// A *point* is what one primary mirror snapshot (or demotion) recorded: `(mirror uuid of the site that took it, its snapshot
// id there)`. A non-primary snapshot is a copy of a point and carries the same identity, so the points of two sites compare.
// An image is written only while it is primary, and every role change ends in a point, so the newest point of a site that is
// not primary stands for everything the site holds.
//
// Invariant: the mirror snapshots of one image, in order of id, lie on one line of history: each descends from the one
// before it. `snapshotsLostByResync` (retention.ts) keeps this true after a resync.

import type { MirrorSnapshot } from '../../image/header.ts';

export type Point = { mirrorUuid: string; snapId: number };

/** A copy made by mirroring, as opposed to the marker that a forced promotion leaves (an orphan: no primary uuid). */
export const isCopy = (snapshot: MirrorSnapshot): boolean =>
  isNonPrimary(snapshot) && (snapshot.namespace.primaryMirrorUuid ?? '') !== '';

export const isOrphanMarker = (snapshot: MirrorSnapshot): boolean => isNonPrimary(snapshot) && !isCopy(snapshot);

/** Taken here, as primary or at a demotion. */
export const isOwn = ({ namespace: { state } }: MirrorSnapshot): boolean =>
  state === 'primary' || state === 'primary-demoted';

/** Of a primary here, or copied. */
export const isDemotion = ({ namespace: { state } }: MirrorSnapshot): boolean =>
  state === 'primary-demoted' || state === 'non-primary-demoted';

const isNonPrimary = (snapshot: MirrorSnapshot): boolean => !isOwn(snapshot);

/** Mirror snapshots, oldest first. Ids rise with time. */
export const inOrder = (snapshots: readonly MirrorSnapshot[]): MirrorSnapshot[] =>
  snapshots.toSorted((a, b) => a.id - b.id);

/** The point that a snapshot stands for, at the site `mirrorUuid`. Nothing incomplete and no orphan marker stands for one. */
export function pointOf(snapshot: MirrorSnapshot, mirrorUuid: string): Point | undefined {
  const { complete, primaryMirrorUuid, primarySnapId } = snapshot.namespace;
  if (!complete || isOrphanMarker(snapshot)) return undefined;
  if (isOwn(snapshot)) return { mirrorUuid, snapId: snapshot.id };
  return primarySnapId === undefined ? undefined : { mirrorUuid: primaryMirrorUuid ?? '', snapId: primarySnapId };
}

/** When the point of a snapshot was made at its primary. */
export const takenAtMs = ({ createdAtMs, namespace }: MirrorSnapshot): number =>
  namespace.primaryCreatedAtMs ?? createdAtMs;

export type Site = { mirrorUuid: string; snapshots: readonly MirrorSnapshot[] };

/** The newest snapshot of a site that stands for a point. */
export const newestPoint = (site: Site): MirrorSnapshot | undefined =>
  inOrder(site.snapshots).findLast((snapshot) => pointOf(snapshot, site.mirrorUuid) !== undefined);

/**
 * Where the other site has the point of `snapshot`. Ids alone could lie (an image removed and made again starts counting
 * anew), so the content must agree as well: equal root hashes prove it. In doubt there is no match, hence split-brain.
 */
export function findPoint(snapshot: MirrorSnapshot, owner: Site, other: Site): MirrorSnapshot | undefined {
  const wanted = pointOf(snapshot, owner.mirrorUuid);
  if (!wanted) return undefined;
  return inOrder(other.snapshots).findLast((candidate) => {
    const point = pointOf(candidate, other.mirrorUuid);
    return (
      point?.mirrorUuid === wanted.mirrorUuid && point.snapId === wanted.snapId && sameContent(candidate, snapshot)
    );
  });
}

const sameContent = (a: MirrorSnapshot, b: MirrorSnapshot): boolean =>
  a.root?.hash === b.root?.hash && a.sizeBytes === b.sizeBytes;

/** How the history here relates to the history there, both known only by what retention has kept. */
export type Relation = 'equal' | 'behind' | 'ahead' | 'diverged' | 'empty';

export function relationOf(here: Site, there: Site): Relation {
  const [ours, theirs] = [newestPoint(here), newestPoint(there)];
  if (!ours || !theirs) return 'empty';
  const [oursThere, theirsHere] = [findPoint(ours, here, there), findPoint(theirs, there, here)];
  if (oursThere) return oursThere.id === theirs.id ? 'equal' : 'behind';
  return theirsHere ? 'ahead' : 'diverged';
}
