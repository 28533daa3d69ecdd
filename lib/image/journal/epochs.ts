// Owns the epochs of an image's journal: one period each in which one writer may append (I6). Opening one fences the one
// before; its slots are then final, and are folded before the header names the new epoch. So one swap moves everything.
//
//   opener A                               opener B
//   fences epoch 1 at slot 8               finds the fence at slot 8
//   folds up to slot 8                     folds up to slot 8
//   swap: epoch 2, owner A
//                                          swap refused; reads the header: the owner is A
//
// A writer that dies leaves its epoch open: everything that it was told is durable is in its slots.

import type { Stored } from '../../bucket/document.ts';
import { FarsideError } from '../../errors.ts';
import { assertWritable, openHeader, readHeader, updateHeader } from '../access.ts';
import type { ImageDeps, ImageSpec } from '../deps.ts';
import { foldTail, hasTail } from './fold.ts';
import { pastEpochsMax, type Header, type Journal, type JournalOwner } from '../header.ts';
import { inUse, ownerOf } from './attachment.ts';
import { newEpochId, parseEpochId, type EpochId } from '../ids.ts';
import { fence } from './slots.ts';

export type OpenOptions = {
  /** Whether an owner that the header names is known to be gone, so that nobody is pushed off. */
  isGone?: (owner: JournalOwner) => boolean;
  /** Push off whoever is there. */
  force?: boolean;
};

/** Openers who were overtaken that often give up. */
const racesMax = 10;

/** Begins an epoch that `owner` may write in. EBUSY: somebody else has one open. EROFS: the image is non-primary. */
export async function openEpoch(
  deps: ImageDeps,
  spec: ImageSpec,
  owner: JournalOwner,
  { isGone = () => false, force = false }: OpenOptions = {},
): Promise<Stored<Header>> {
  for (let tries = 0; tries < racesMax; tries++) {
    const stored = await openHeader(deps, spec);
    assertWritable(stored.value);
    const previous = ownerOf(stored.value);
    if (previous && !force && !isGone(previous)) throw inUse(stored.value, previous);
    const whole = await endEpoch(deps, stored);
    const opened = whole && (await beginEpoch(deps, whole, owner));
    if (opened) return opened;
  }
  throw new FarsideError('EAGAIN', `image ${spec.image} is being attached by others too; try again`, {
    retry: 'later',
  });
}

async function beginEpoch(
  deps: ImageDeps,
  whole: Stored<Header>,
  owner: JournalOwner,
): Promise<Stored<Header> | undefined> {
  const epoch = newEpochId(deps.random);
  const begin = (journal: Journal | undefined, header: Header): Journal => {
    assertWritable(header); // it may have been demoted since
    return nextEpoch(epoch, journal, owner);
  };
  try {
    return await swapJournal(deps, whole, begin);
  } catch (error) {
    if (!(error instanceof FarsideError) || error.retry === 'never') throw error;
    // Nobody had an answer. It may have landed: then the image is ours, and nobody else's while this process lives.
    const now = await readHeader(deps, whole.value.imageId).catch(() => undefined);
    if (now && now.value.journal?.state === 'open' && now.value.journal.folded.epoch === epoch) return now;
    throw error;
  }
}

/** Detaches: the epoch ends, and the root is the whole head again. Idempotent; another epoch is left alone. */
export async function closeEpoch(deps: ImageDeps, imageId: string, epoch: string): Promise<void> {
  for (let tries = 0; tries < racesMax; tries++) {
    const stored = await readHeader(deps, imageId);
    if (!stored || !hasTail(stored.value) || stored.value.journal.folded.epoch !== epoch) return;
    if (await closed(deps, stored)) return;
  }
  throw new FarsideError('EAGAIN', `image ${imageId} is changed by others too often to be detached; try again`, {
    retry: 'later',
  });
}

/**
 * Ends whatever epoch is open, as `closeEpoch` does: for who takes the image away from its writer (a demotion, a promotion of a
 * replica, `lock break`). Gives the header with the whole content in its root.
 */
export async function breakEpoch(deps: ImageDeps, stored: Stored<Header>): Promise<Stored<Header>> {
  let current = stored;
  for (let tries = 0; tries < racesMax; tries++) {
    if (!hasTail(current.value)) return current;
    const done = await closed(deps, current);
    if (done) return done;
    const reread = await readHeader(deps, stored.value.imageId);
    if (!reread) throw new FarsideError('ENOENT', `image ${stored.value.name} was removed meanwhile`);
    current = reread;
  }
  throw new FarsideError('EAGAIN', `image ${stored.value.name} is changed by others too often; try again`, {
    retry: 'later',
  });
}

async function closed(deps: ImageDeps, stored: Stored<Header>): Promise<Stored<Header> | undefined> {
  const whole = await endEpoch(deps, stored);
  return whole && swapJournal(deps, whole, (journal) => journal && closedJournal(journal));
}

/**
 * Fences the open epoch and folds all of it. A journal that has ended stays as it is. Undefined: somebody else has ended it,
 * and the epoch that follows is not fenced.
 */
async function endEpoch(deps: ImageDeps, stored: Stored<Header>): Promise<Stored<Header> | undefined> {
  if (!hasTail(stored.value)) return stored;
  const { imageId, journal } = stored.value;
  // A replica's slots are its primary's to fill: only what is copied is there, and nobody writes.
  if (journal.state === 'open') {
    const { epoch, seq } = journal.folded;
    await fence(deps, imageId, { epoch: parseEpochId(epoch), seq });
  }
  const whole = await foldTail(deps, stored);
  return hasTail(whole.value) && whole.value.journal.folded.epoch === journal.folded.epoch ? whole : undefined;
}

/** Undefined: the journal moved since `stored` was read. */
async function swapJournal(
  deps: ImageDeps,
  stored: Stored<Header>,
  change: (journal: Journal | undefined, header: Header) => Journal | undefined,
): Promise<Stored<Header> | undefined> {
  let lost = false;
  const before = positionText(stored.value.journal);
  const swapped = await updateHeader(
    deps,
    stored,
    (header) => {
      lost = positionText(header.journal) !== before;
      const journal = lost ? undefined : change(header.journal, header);
      return journal && { ...header, journal };
    },
    { byMirroring: true },
  );
  return lost ? undefined : swapped;
}

const positionText = (journal: Journal | undefined): string =>
  journal ? `${journal.state} ${journal.folded.epoch}/${journal.folded.seq}` : 'none';

function nextEpoch(epoch: EpochId, journal: Journal | undefined, owner: JournalOwner): Journal {
  const closedOne = journal && closedJournal(journal);
  const folded = { epoch, tag: (journal?.folded.tag ?? 0) + 1, seq: 0, entry: 0 };
  return { state: 'open', folded, owner, past: closedOne ? closedOne.past : [] };
}

/** What is folded is the end of the epoch. */
export function closedJournal(journal: Journal): Journal {
  const { folded, fencesPassed } = journal;
  const { epoch, tag, seq, entry } = folded;
  if (journal.state === 'closed') return journal;
  const past = [...journal.past, { epoch, tag, endSeq: seq, entries: entry }].slice(-pastEpochsMax);
  // It may be followed again, and fences are there still.
  return { state: 'closed', folded, past, ...(fencesPassed !== undefined && { fencesPassed }) };
}
