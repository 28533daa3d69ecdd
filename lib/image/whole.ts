// Owns the one door for changes of a header that stand on the whole head of an image whose journal may be going on: a point, the end
// of following. What is durable is folded first, and the change is made only of a version that was folded so far:
//
//   promote a replica                      follows the journal
//   folds up to slot 8
//                                          copies slot 9, folds
//   swap: the journal moved; folds again
//
// A slot that is put between the fold and the swap, and that nobody folds, is not in the root. Whoever takes a point finds it behind
// the point. Whoever ends the following puts a fence first, so that there is none (journal/replica-end.ts).

import { backOff, raceBackoff } from '../bucket/backoff.ts';
import { racesMax, type Stored } from '../bucket/document.ts';
import { FarsideError } from '../errors.ts';
import { readHeader, updateHeader } from './access.ts';
import type { ImageDeps } from './deps.ts';
import { closedJournal } from './journal/epochs.ts';
import type { Header } from './header.ts';

/** How a header becomes one whose journal says everything: `foldTail`, `endFollowing`, `breakEpoch`. */
export type Settle = (deps: ImageDeps, stored: Stored<Header>) => Promise<Stored<Header>>;

/** A replica that is left to itself follows nothing any more. Its tail was folded before. */
export const whole = (header: Header): Header =>
  header.journal?.state === 'following' ? { ...header, journal: closedJournal(header.journal) } : header;

/**
 * Settles, then changes the header by mirroring's right. `change` may throw, and answers undefined for nothing to do; it is asked
 * again when the journal moved meanwhile. ENOENT: the image is gone. EAGAIN: others change it too often.
 */
export async function updateWhole(
  deps: ImageDeps,
  first: Stored<Header>,
  settle: Settle,
  change: (header: Header) => Header | undefined,
): Promise<Stored<Header>> {
  let stored = first;
  for (let lostCount = 0; lostCount <= racesMax; lostCount++) {
    const settled = await settle(deps, stored);
    let isMoved = false;
    const changed = (header: Header): Header | undefined => {
      isMoved = journalText(header) !== journalText(settled.value);
      return isMoved ? undefined : change(header);
    };
    const updated = await updateHeader(deps, settled, changed, { byMirroring: true });
    if (!isMoved) return updated;
    await backOff(raceBackoff, lostCount, deps);
    stored = await reread(deps, first.value);
  }
  throw new FarsideError('EAGAIN', `image ${first.value.name} is changed by others too often; try again`, {
    retry: 'later',
  });
}

async function reread(deps: ImageDeps, { imageId, name }: Header): Promise<Stored<Header>> {
  const stored = await readHeader(deps, imageId);
  if (stored) return stored;
  throw new FarsideError('ENOENT', `error opening image ${name}`);
}

const journalText = ({ journal }: Header): string =>
  journal ? `${journal.state} ${journal.folded.epoch}/${journal.folded.seq} ${journal.fencesPassed ?? 0}` : '';
