// Owns the end of what a replica follows: the agreement between who ends it (a promotion, a disable, the trash) and who copies its
// primary's slots. Nothing that was copied, and so may have been reported, is left out of the head that the image goes on with.
//
//   promote                                follows the journal
//   folds up to slot 8
//   slot 9: fence                          slot 9: taken by a fence; does not count as copied, waits
//   folds: nothing is new
//   swap: closed at 9                      the image follows no more
//
// A promotion that dies, or is refused its swap, leaves a fence that ends nothing. One that is older than `endMs` is passed:
//
//   promote                                follows the journal
//   slot 9: fence, 0 passed; dies
//                                          swap: fencesPassed 1. From here on the swap of whoever counts on that fence is refused
//                                          slot 9: its segment, in place of that very fence
//
// A fence counts those that were passed before it, and counts for whoever read a header that had passed no more. So one that went on
// after the swap has to put its own, and one of the two replacements fails:
//
//   promote (retried)                      follows the journal
//                                          swap: fencesPassed 1
//   slot 9: fence, 1 passed, in place of fence 0
//                                          slot 9: not that fence any more; waits
//
// Not promised: that the clocks of bucket and site agree. A clock that is off makes a promotion try again, or a replica wait.

import type { Stored } from '../../bucket/document.ts';
import { FarsideError } from '../../errors.ts';
import { updateHeader } from '../access.ts';
import type { ImageDeps } from '../deps.ts';
import type { Slot } from '../format/node.ts';
import { fencesPassedMax, type Header, type Journal } from '../header.ts';
import { parseEpochId } from '../ids.ts';
import { foldTail, hasTail, type Tailed } from './fold.ts';
import { fence, readFence, replaceFence, type FoundFence } from './slots.ts';

/** Fences that were passed before all was folded. */
const racesMax = 20;

const passedOf = ({ fencesPassed = 0 }: Journal): number => fencesPassed;

const follows = (header: Header): header is Tailed => hasTail(header) && header.journal.state === 'following';

/**
 * The header of a replica with all that it has of a journal in its root, behind which nothing comes as long as `journal` stays as it
 * is. Unchanged when it follows none. Idempotent; what it leaves when nothing comes of it is passed.
 */
export async function endFollowing(deps: ImageDeps, stored: Stored<Header>): Promise<Stored<Header>> {
  if (!follows(stored.value)) return stored;
  // Most is folded before the copying is held up.
  let folded = await foldTail(deps, stored);
  for (let tries = 0; tries < racesMax; tries++) {
    const { value } = folded;
    if (!follows(value)) return folded;
    const { epoch, seq } = value.journal.folded;
    await fence(deps, value.imageId, { epoch: parseEpochId(epoch), seq }, passedOf(value.journal));
    folded = await foldTail(deps, folded);
    if (isFencedBy(value.journal, folded.value)) return folded;
  }
  throw new FarsideError('EAGAIN', `image ${stored.value.name} is changed by others too often; try again`, {
    retry: 'later',
  });
}

const isFencedBy = (before: Journal, { journal }: Header): boolean =>
  journal?.folded.epoch === before.folded.epoch && passedOf(journal) === passedOf(before);

/** `endMs`: who put an older fence has died. `bytes`: the segment of that slot. */
export type Passing = { slot: Slot; bytes: Uint8Array; endMs: number };

/** Puts a segment in the place of a fence that ends nothing. `held`: it may yet end something. `none`: there is no fence. */
export async function passFence(
  deps: ImageDeps,
  stored: Stored<Tailed>,
  { slot, bytes, endMs }: Passing,
): Promise<'passed' | 'held' | 'none'> {
  const { imageId, journal } = stored.value;
  const found = await readFence(deps, imageId, slot);
  if (!found) return 'none';
  if (found.passed >= passedOf(journal)) {
    if (deps.clock.nowMs() - found.putAtMs < endMs) return 'held';
    if (!(await notePassed(deps, stored, found))) return 'held';
  }
  return (await replaceFence(deps, imageId, slot, found, bytes)) ? 'passed' : 'held';
}

/** False: the image does not follow that epoch any more. */
async function notePassed(deps: ImageDeps, stored: Stored<Tailed>, { passed }: FoundFence): Promise<boolean> {
  const { epoch } = stored.value.journal.folded;
  const isOurs = (header: Header): header is Tailed => follows(header) && header.journal.folded.epoch === epoch;
  const note = (header: Header): Header | undefined =>
    isOurs(header) && passedOf(header.journal) <= passed && passed < fencesPassedMax
      ? { ...header, journal: { ...header.journal, fencesPassed: passed + 1 } }
      : undefined;
  const { value } = await updateHeader(deps, stored, note, { byMirroring: true });
  return isOurs(value) && passedOf(value.journal) > passed;
}
