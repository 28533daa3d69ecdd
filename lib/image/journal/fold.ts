// Owns folding: the slots that follow an image's root go into its map, whose entries then refer to the blocks where they lie,
// in the segments. Anybody may fold at any time; the content of the image does not change by it.
//
//   writer folds slots 3 to 9              a mirror snapshot is taken: folds slots 3 to 10
//                                          swap: root, folded = 11
//   swap refused: folded is not 3 any more; reads the header again and goes on from there
//
// Bounded: `foldSlotsMax` slots for each swap, and what a busy writer appends meanwhile is left to the next who folds.

import { replaceDocument, type Stored } from '../../bucket/document.ts';
import { FarsideError } from '../../errors.ts';
import { openHeader, readHeader } from '../access.ts';
import { assertPacksSafe, type WrittenPacks } from '../collect/condemned.ts';
import type { ImageDeps, ImageSpec } from '../deps.ts';
import { sameRoot, sizeBytesMax, type Header, type Journal, type JournalPosition, type Root } from '../header.ts';
import { parseEpochId } from '../ids.ts';
import type { Segment, SegmentChange } from './segment.ts';
import { segmentsFrom } from './slots.ts';
import { ImageWriter } from '../map/write.ts';

/** Slots folded by one swap of the header. */
export const foldSlotsMax = 256;
/** Swaps lost in a row to others who fold or change the image. */
const racesMax = 20;

export type FoldOptions = {
  /** Segments that need not be read again, by their number in their epoch. */
  known?: ReadonlyMap<number, Segment>;
};

export type Tailed = Header & { journal: Journal };

/** Whether there may be slots that are not in the root. */
export const hasTail = (header: Header): header is Tailed =>
  header.journal !== undefined && header.journal.state !== 'closed';

/**
 * The header with everything that is durable in the journal in its root; unchanged when it has no journal, or nothing is new.
 * ENOENT: the image is gone. EAGAIN: collection is in the way, or others change the image too often.
 */
export async function foldTail(
  deps: ImageDeps,
  stored: Stored<Header>,
  options: FoldOptions = {},
): Promise<Stored<Header>> {
  let current = stored;
  for (let lostCount = 0; lostCount <= racesMax;) {
    if (!hasTail(current.value)) return current;
    const base = { ...current, value: current.value };
    const folded = await foldSome(deps, base, options);
    if (folded === 'nothing') return current;
    if (folded !== 'lost' && folded.isWhole) return folded.stored;
    if (folded === 'lost') lostCount++;
    current = folded === 'lost' ? await reread(deps, current.value) : folded.stored;
  }
  throw new FarsideError('EAGAIN', `image ${stored.value.name} is changed by others too often; try again`, {
    retry: 'later',
  });
}

/** As `openHeader`, with everything durable in the root: for who reads or keeps the head of an image that may be in use. */
export async function openHead(deps: ImageDeps, spec: ImageSpec): Promise<Stored<Header>> {
  return wholeHead(deps, spec, await openHeader(deps, spec));
}

/** As `openHead`, of a header that was read a moment ago. */
export async function wholeHead(deps: ImageDeps, spec: ImageSpec, stored: Stored<Header>): Promise<Stored<Header>> {
  const isFolded = stored.value.journal?.state === 'following' && (await isFoldedThere(deps, stored.value));
  return isFolded ? openHeader(deps, spec) : foldTail(deps, stored);
}

/** By the site, if there is one that can be asked. */
async function isFoldedThere({ points }: ImageDeps, header: Header): Promise<boolean> {
  if (!points?.foldReplica) return false;
  return points.foldReplica(header).then(
    () => true,
    () => false,
  );
}

async function reread(deps: ImageDeps, { imageId, name }: Header): Promise<Stored<Header>> {
  const stored = await readHeader(deps, imageId);
  if (stored) return stored;
  throw new FarsideError('ENOENT', `image ${name} was removed meanwhile`);
}

/** `isWhole`: it came to a slot that was free, or to the fence. */
type Folded = { stored: Stored<Header>; isWhole: boolean };

async function foldSome(
  deps: ImageDeps,
  base: Stored<Tailed>,
  { known }: FoldOptions,
): Promise<Folded | 'nothing' | 'lost'> {
  const header = base.value;
  const writer = new ImageWriter(deps, { image: header, root: header.root }, { compression: 'none', resume: false });
  let position = header.journal.folded;
  for await (const segment of tail(deps, header, known)) {
    await place(writer, header, segment);
    position = after(position, segment);
  }
  if (position === header.journal.folded) return 'nothing';
  const root = await writer.finish();
  const stored = await commitFold(deps, base, { root, position, written: writer.written });
  return stored ? { stored, isWhole: position.seq - header.journal.folded.seq < foldSlotsMax } : 'lost';
}

async function* tail(
  deps: ImageDeps,
  { imageId, journal: { folded } }: Tailed,
  known: ReadonlyMap<number, Segment> | undefined,
): AsyncGenerator<Segment> {
  const epoch = parseEpochId(folded.epoch);
  // The header may have gone on to another epoch since, whose slots have the same numbers.
  const knownAt = (at: number): Segment | undefined => {
    const segment = at < folded.seq + foldSlotsMax ? known?.get(at) : undefined;
    return segment?.slot.epoch === epoch ? segment : undefined;
  };
  let seq = folded.seq;
  for (let segment = knownAt(seq); segment; segment = knownAt(++seq)) yield segment;
  yield* segmentsFrom(deps, imageId, { epoch, seq }, folded.seq + foldSlotsMax - seq);
}

async function place(writer: ImageWriter, header: Header, { pack, changes }: Segment): Promise<void> {
  for (const change of changes) {
    const { offset, length, entry } = change;
    checkPlace(header, pack.slot?.seq ?? 0, change);
    if (entry === undefined) await writer.zero(offset, length);
    else await writer.refer(offset, length, { pack, entry, skip: 0 });
  }
}

/** EBADMSG: no writer of this image makes such a change. The header's size is no bound: a replica's may lag behind. */
function checkPlace({ name, objectBytes }: Header, seq: number, { offset, length, entry }: SegmentChange): void {
  const isWithin = offset + length <= sizeBytesMax;
  const isInObject = Math.floor(offset / objectBytes) === Math.floor((offset + length - 1) / objectBytes);
  if (isWithin && (entry === undefined || isInObject)) return;
  throw new FarsideError(
    'EBADMSG',
    `image ${name}: slot ${seq} of its journal changes ${length} bytes at offset ${offset}, which no writer of the image does`,
  );
}

/** The position behind a segment. */
export const after = (position: JournalPosition, { slot, firstEntry, entryCount }: Segment): JournalPosition => ({
  ...position,
  seq: slot.seq + 1,
  entry: firstEntry + entryCount,
});

type Fold = { root: Root | null; position: JournalPosition; written: WrittenPacks };

/** Undefined: somebody else folded, or changed the content, meanwhile. Other changes of the header do not matter. */
async function commitFold(deps: ImageDeps, base: Stored<Tailed>, fold: Fold): Promise<Stored<Header> | undefined> {
  for (let tries = 0, stored: Stored<Header> = base; tries < racesMax; tries++) {
    if (tries > 0) stored = await reread(deps, base.value);
    const header = stored.value;
    if (!hasTail(header) || !isSameTail(base.value, header)) return undefined;
    await assertPacksSafe(deps, base.value, header, fold.written);
    const next: Header = { ...header, root: fold.root, journal: { ...header.journal, folded: fold.position } };
    const replaced = await replaceDocument(deps.bucket, stored, next, deps.random);
    if (replaced) return replaced;
  }
  return undefined;
}

const isSameTail = (a: Tailed, b: Tailed): boolean =>
  a.journal.folded.epoch === b.journal.folded.epoch &&
  a.journal.folded.seq === b.journal.folded.seq &&
  a.sizeBytes === b.sizeBytes &&
  sameRoot(a.root, b.root);
