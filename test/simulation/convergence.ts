// Owns what must be true when all faults are over and ticks have had their time: who follows whom, and where each copy must
// stand, by the true history.

import { mirrorSnapshots, sameRoot } from '../../lib/image/header.ts';
import { mirrorOf } from '../../lib/mirror/pool.ts';
import { childrenOf } from '../../lib/image/clones/lineage.ts';
import { covers, sameReach } from './truth/journal-truth.ts';
import type { GroundTruth } from './truth/ground-truth.ts';
import { describe, type ImageTruth } from './truth/image-truth.ts';
import type { SiteTruth } from './truth/site-truth.ts';

/** Images of `from` are mirrored to `to`. */
export type Direction = { from: string; to: string };

/** Why the sites are not in step; undefined when they are. */
export function checkConverged(truth: GroundTruth, directions: readonly Direction[]): string | undefined {
  for (const { from, to } of directions) {
    const [source, target] = [truth.site(from)!, truth.site(to)!];
    const copies = [...target.images.values()].filter(({ role }) => role !== 'trashed');
    for (const primary of source.images.values()) {
      const problem =
        primary.globalId &&
        !waitsForParent(primary, source, target) &&
        checkCopy(
          truth,
          primary,
          copies.find(({ globalId }) => globalId === primary.globalId),
          copies,
          to,
        );
      if (problem) return problem;
    }
    for (const copy of copies) {
      const isGivenUp =
        copy.role === 'replica' &&
        childrenOf(copy.header).length === 0 &&
        copy.newest?.site === from &&
        source.hasTombstone(copy.globalId!) &&
        ![...source.images.values()].some(({ globalId }) => globalId === copy.globalId);
      if (isGivenUp) return `${copy.title} outlives its primary`;
    }
  }
  return undefined;
}

/** In mode `pool` an image with the journaling feature is mirrored, a clone only if its parent is. */
export function checkByFeature({ sites }: GroundTruth): string | undefined {
  for (const { images, place } of sites)
    for (const { role, header, title, isAcknowledged } of images.values()) {
      const mode = place.pool && mirrorOf(place.pool, header.namespace)?.mode;
      const isMeant = isAcknowledged && header.features.includes('journaling') && !header.parent;
      if (mode === 'pool' && role === 'plain' && isMeant) return `${title} is not mirrored for its features`;
    }
  return undefined;
}

/** A clone whose copy is not begun, because the copy of its parent does not have the snapshot. */
export function waitsForParent(primary: ImageTruth, source: SiteTruth, target: SiteTruth): boolean {
  const link = mirrorSnapshots(primary.header).at(-1)?.namespace.image.parent;
  const copies = [...target.images.values()];
  const copy = copies.find(({ globalId }) => globalId === primary.globalId);
  if (!link || (copy && copy.role !== 'creating')) return false;
  const globalId = source.images.get(link.imageId)?.globalId;
  const parent = globalId && copies.find((one) => one.globalId === globalId);
  return !parent || parent.header.snapshots.every(({ root }) => !sameRoot(root, link.root));
}

/** At the same point, and as far behind it in the journal, if that is mirrored. */
const isInStep = (a: ImageTruth, b: ImageTruth): boolean =>
  a.newest === b.newest && (sameReach(a.reach, b.reach) || a.header.mirror?.mode !== 'journal');

/** What the one shows lies in the history of the other. */
const descends = (from: ImageTruth, image: ImageTruth): boolean =>
  from.newest !== undefined && image.line.has(from.newest) && covers(image.reach, from.reach);

/** It says so, unless it was copied from another site. */
function isDisconnected(image: ImageTruth, copy: ImageTruth, truth: GroundTruth): boolean {
  if ((image.header.mirror?.disconnected ?? []).length === 0) return false;
  const { problem, lastSync } = copy.header.mirror ?? {};
  return (
    problem?.description === 'disconnected' || lastSync?.peerMirrorUuid !== truth.site(image.site)?.place.mirrorUuid
  );
}

/** In a chain a replica is followed as its primary is; who has more than it, or something else, is another site's business. */
function checkNext(
  replica: ImageTruth,
  copy: ImageTruth | undefined,
  { others, to, truth }: { others: readonly ImageTruth[]; to: string; truth: GroundTruth },
): string | undefined {
  if (replica.newest?.site === to || copy?.role === 'primary') return undefined;
  if (copy && isDisconnected(replica, copy, truth)) return undefined;
  if (!copy || copy.role === 'creating') {
    const hasClash = others.some((other) => other !== copy && other.view.name === replica.view.name);
    return hasClash ? undefined : `${replica.title} is not passed on to ${to}`;
  }
  const isBehind = descends(copy, replica) && !isInStep(copy, replica);
  return isBehind ? `${copy.title} is behind ${replica.title}` : undefined;
}

/** It is in step with another site that is primary too. */
const followsOther = (copy: ImageTruth, truth: GroundTruth): boolean =>
  truth
    .census()
    .flatMap(({ images }) => images)
    .some((other) => other.role === 'primary' && other.globalId === copy.globalId && isInStep(other, copy));

function checkCopy(
  truth: GroundTruth,
  primary: ImageTruth,
  copy: ImageTruth | undefined,
  others: readonly ImageTruth[],
  to: string,
): string | undefined {
  if (primary.role === 'replica') return checkNext(primary, copy, { others, to, truth });
  const isPrimary = primary.role === 'primary';
  const isOfferingOwn =
    isPrimary ||
    (primary.role === 'demoted' && mirrorSnapshots(primary.header).at(-1)?.namespace.state === 'primary-demoted');
  if (!isOfferingOwn) return undefined;
  const recordedName = primary.newest?.view.name;
  if (!copy || copy.role === 'creating') {
    const hasClash = others.some(
      (other) => other !== copy && (other.view.name === primary.view.name || other.view.name === recordedName),
    );
    return (isPrimary || copy) && !hasClash ? `${primary.title} has no copy at ${to}` : undefined;
  }
  const isEqual = isInStep(copy, primary);
  if (copy.role === 'primary' || (!isEqual && followsOther(copy, truth))) return undefined;
  if (isDisconnected(primary, copy, truth)) return undefined;
  const problem = copy.header.mirror?.problem;
  const isSplit = problem?.description === 'split-brain';
  const where = `${copy.title} (${copy.role}) is at ${describe(copy.newest)}${problem ? `, problem '${problem.description}'` : ''}; ${primary.title} at ${describe(primary.newest)}`;
  if (copy.isResyncAsked) return isPrimary ? `${where}: its resync was not done` : undefined;
  if (isEqual && copy.role === 'replica' && copy.header.parent?.flatten?.due)
    return `${where}: it is still to be flattened`;
  if (isEqual)
    return problem && isPrimary && !problem.description.includes('name') ? `${where}: its problem is over` : undefined;
  const follows = descends(copy, primary);
  if (follows) return isSplit ? `${where}: there is no split-brain` : `${where}: it is behind`;
  const isAhead = descends(primary, copy);
  if (isAhead && !isPrimary) return undefined;
  // Of two problems with two sites it shows one.
  const isShown = isSplit || problem?.description === 'disconnected';
  return isShown ? undefined : `${where}: the split-brain is not reported`;
}
