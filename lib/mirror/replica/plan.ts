// Owns what a decision to sync means for this very pair of images: which roots need not cross the wire, and what completing
// will do to the header. Pure.

import { mirrorSnapshots, reachableRoots, readableRoots } from '../../image/header.ts';
import type { Header, Root } from '../../image/header.ts';
import type { Plan } from './checkpoints.ts';
import { sharedRoots, wantedRoots } from '../primary/delta.ts';
import type { PresentImage } from '../peer-protocol.ts';
import { losesHead, snapshotsLostByResync } from '../roles/retention.ts';
import type { SyncDecision } from '../roles/roles.ts';

/** Every root that the primary's mirror snapshots reach. */
const rootsOf = (remote: PresentImage): Root[] => remote.snapshots.flatMap(wantedRoots);
/** A clone has its parent's too. */
const parentRootsOf = (remote: PresentImage): Root[] =>
  remote.snapshots.flatMap(({ namespace }) => namespace.image.parent?.root ?? []);

/** Points that it had while it was mirrored before (lib/image/formerly.ts). */
const formerRootsOf = (remote: PresentImage): Root[] => (remote.formerly ?? []).flatMap(({ roots }) => roots);

/** A clone that is being flattened will not have its parent's for long. */
const lasting = (header: Header): Root[] => (header.parent?.flatten ? reachableRoots(header) : readableRoots(header));

/** Roots that both sites have whole. */
export const heldRoots = (header: Header, remote: PresentImage): Root[] =>
  sharedRoots(lasting(header), [...rootsOf(remote), ...parentRootsOf(remote), ...formerRootsOf(remote)]);

/**
 * The primary's snapshot that we stand at, and which it must keep until we have the target. After a split-brain no snapshot
 * stands for our newest point, so it is the newest one whose content we hold: a resync then costs what differs since.
 */
export function linkOf(decision: SyncDecision, header: Header, remote: PresentImage): number | undefined {
  const held = reachableRoots(header);
  const shared = remote.snapshots.findLast(
    ({ id, root }) => id < decision.targetSnapId && root !== null && isAmong(root, held),
  );
  return decision.linkSnapId ?? shared?.id;
}

export type Parties = { header: Header; remote: PresentImage; mirrorUuid: string; peerUuid: string };

/** Undefined when the decision's target is not among the remote's snapshots. */
export function planOf(decision: SyncDecision, { header, remote, mirrorUuid, peerUuid }: Parties): Plan | undefined {
  const target = remote.snapshots.find((snapshot) => snapshot.id === decision.targetSnapId);
  if (!target) return undefined;
  const { demoted, resync } = decision;
  const here = { mirrorUuid, snapshots: mirrorSnapshots(header) };
  const lostSnapIds = resync ? snapshotsLostByResync(here, remote, target.id) : [];
  const losesAny = losesHead(here, remote, target.id) || decision.losesTail === true;
  const keepHead = resync && losesAny && !isAmong(header.root, rootsOf(remote));
  return { target, demoted, resync, peerUuid, primaryMirrorUuid: remote.mirrorUuid, lostSnapIds, keepHead };
}

/** An empty head holds nothing to keep. */
const isAmong = (root: Root | null, roots: readonly Root[]): boolean =>
  root === null || sharedRoots([root], roots).length > 0;
