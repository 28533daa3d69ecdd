// Owns what must be true when all faults are over and ticks have had their time: who follows whom, and where each copy must
// stand, by the true history.

import { mirrorSnapshots, sameRoot } from '../../lib/image/header.ts';
import { childrenOf } from '../../lib/image/lineage.ts';
import { describe, type GroundTruth, type ImageTruth, type SiteTruth } from './ground-truth.ts';

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

/** In a chain a replica is followed as its primary is; who has more than it, or something else, is another site's business. */
function checkNext(
  replica: ImageTruth,
  copy: ImageTruth | undefined,
  others: readonly ImageTruth[],
  to: string,
): string | undefined {
  if (replica.newest?.site === to || copy?.role === 'primary') return undefined;
  if (!copy || copy.role === 'creating') {
    const hasClash = others.some((other) => other !== copy && other.view.name === replica.view.name);
    return hasClash ? undefined : `${replica.title} is not passed on to ${to}`;
  }
  const isBehind = copy.newest !== undefined && replica.newest?.line.has(copy.newest) && copy.newest !== replica.newest;
  return isBehind ? `${copy.title} is behind ${replica.title}` : undefined;
}

/** It is in step with another site that is primary too. */
const followsOther = (copy: ImageTruth, truth: GroundTruth): boolean =>
  truth
    .census()
    .flatMap(({ images }) => images)
    .some(({ role, globalId, newest }) => role === 'primary' && globalId === copy.globalId && newest === copy.newest);

function checkCopy(
  truth: GroundTruth,
  primary: ImageTruth,
  copy: ImageTruth | undefined,
  others: readonly ImageTruth[],
  to: string,
): string | undefined {
  if (primary.role === 'replica') return checkNext(primary, copy, others, to);
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
  if (copy.role === 'primary' || (copy.newest !== primary.newest && followsOther(copy, truth))) return undefined;
  const problem = copy.header.mirror?.problem;
  const isSplit = problem?.description === 'split-brain';
  const where = `${copy.title} (${copy.role}) is at ${describe(copy.newest)}${problem ? `, problem '${problem.description}'` : ''}; ${primary.title} at ${describe(primary.newest)}`;
  if (copy.isResyncAsked) return isPrimary ? `${where}: its resync was not done` : undefined;
  if (copy.newest === primary.newest && copy.role === 'replica' && copy.header.parent?.flatten?.due)
    return `${where}: it is still to be flattened`;
  if (copy.newest === primary.newest)
    return problem && isPrimary && !problem.description.includes('name') ? `${where}: its problem is over` : undefined;
  const follows = copy.newest !== undefined && primary.line.has(copy.newest);
  if (follows) return isSplit ? `${where}: there is no split-brain` : `${where}: it is behind`;
  const isAhead = primary.newest !== undefined && copy.line.has(primary.newest);
  if (isAhead && !isPrimary) return undefined;
  return isSplit ? undefined : `${where}: the split-brain is not reported`;
}
