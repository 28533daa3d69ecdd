// Owns how a replica follows its primary's journal between two points: the segments of the open epoch are copied into the same
// slots here, strictly in order, so that the slots here are dense as well, and each is a new crash-consistent state of the
// replica (I2). No header is written for it: the head of a replica is its root and the slots behind, as that of any image in use.
//
//   sync (woken by slot 7)                 sync (woken by slot 8)
//   end here: 7                            end here: 7
//   fetches 7, verifies                    fetches 7, verifies
//   puts 7                                 puts 7: taken, by the same bytes
//   fetches 8 …                            fetches 8 …
//
//   sync                                   promote
//   fetches 9
//                                          puts a fence into slot 9, folds up to slot 8
//   puts 9: taken by a fence; waits
//                                          closes the journal: nothing is followed any more
//
// Where a promotion died the fence is passed after a while (replica-end.ts).
//
// Bounded: `segmentsMax` slots and `inlineBytesMax` bytes for each invocation, `segmentsConcurrency` in flight, `replicaTailMax` unfolded. A slot that is gone
// at the primary (collected there, once folded) is not waited for: the primary takes a point, and the replica goes on from that.

import { allDone } from '../../all-done.ts';
import type { Stored } from '../../bucket/document.ts';
import { keyText } from '../../bucket/keys.ts';
import { FarsideError } from '../../errors.ts';
import { inlineCodec } from '../../image/packs/bulk-codec.ts';
import { foldTail, hasTail, type Tailed } from '../../image/journal/fold.ts';
import type { Header, JournalPosition, MirrorSnapshot } from '../../image/header.ts';
import { parseEpochId, type EpochId } from '../../image/ids.ts';
import { parsePackIndex } from '../../image/format/pack.ts';
import { passFence } from '../../image/journal/replica-end.ts';
import { isFenceSized, isFence } from '../../image/format/fence.ts';
import { parseSegment, type Segment } from '../../image/journal/segment.ts';
import { fillSlot, holdsBytes, readSlot } from '../../image/journal/slots.ts';
import { firstFree } from '../roles/dense.ts';
import type { MirrorDeps } from '../deps.ts';
import type { Peer } from '../peer-protocol.ts';
import { recall, remember } from '../recent.ts';

/** For so long after the newest segment a replica is looked after by every tick: wake-ups and records may be lost. */
const freshMs = 5 * 60_000;

export type Following = { peer: Peer; primaryImageId: string; stored: Stored<Tailed> };

/**
 * `settled`: nothing new for a while. `fresh`: in step, and more is to be expected. `more`: the bounds are reached. `gone`: the next
 * slot is not at the primary any more.
 */
export type Followed = {
  state: 'settled' | 'fresh' | 'more' | 'gone';
  end: JournalPosition;
  bytes: number;
  entries: number;
};

/** Of a replica whose newest point lies in an epoch that is open at the primary. */
export const follows = (header: Header, position: JournalPosition | undefined): header is Tailed =>
  header.mirror?.mode === 'journal' &&
  header.journal?.state === 'following' &&
  position !== undefined &&
  hasTail(header) &&
  header.journal.folded.epoch === position.epoch;

/**
 * @param foldedThere what the primary has folded of the epoch, as it said: earlier slots may be gone there.
 * @param untilMs segments sealed later are left for later.
 */
export async function followJournal(
  deps: MirrorDeps,
  following: Following,
  { foldedThere, untilMs }: { foldedThere: JournalPosition | undefined; untilMs: number },
): Promise<Followed> {
  const header = following.stored.value;
  const epoch = parseEpochId(header.journal.folded.epoch);
  const begin = await endHere(deps, header, epoch);
  const copied = await copySegments(deps, following, { epoch, from: begin, untilMs });
  const last = copied.segments.at(-1) ?? (await newestHere(deps, header, epoch, begin));
  const end = last && last.slot.seq >= header.journal.folded.seq ? behind(header, last) : header.journal.folded;
  const entries = copied.segments.reduce((sum, { entryCount }) => sum + entryCount, 0);
  const result = { end, bytes: copied.bytes, entries };
  if (copied.stopped === 'bound') return { ...result, state: 'more' };
  const isGone = foldedThere?.epoch === epoch && foldedThere.seq > end.seq;
  if (copied.stopped === 'absent' && isGone) return { ...result, state: 'gone' };
  const isWaiting = copied.stopped === 'delayed' || copied.stopped === 'held';
  const isFresh = isWaiting || (last && deps.clock.nowMs() - last.sealedAtMs < freshMs);
  await foldNowAndThen(deps, following.stored, copied.segments, end, isFresh ? deps.limits.replicaTailMax : 1);
  return { ...result, state: isFresh ? 'fresh' : 'settled' };
}

/**
 * Whether the replica has more of a journal than some image of that history was promoted from (`promotedAt`). One look, and only at
 * such histories.
 */
export async function reachesBeyond(
  deps: MirrorDeps,
  header: Header,
  theirs: readonly MirrorSnapshot[],
): Promise<boolean> {
  if (header.journal?.state !== 'following') return false;
  const { imageId, journal } = header;
  const epoch = parseEpochId(journal.folded.epoch);
  const promoted = theirs.find(({ namespace }) => namespace.promotedAt?.epoch === epoch)?.namespace.promotedAt;
  if (!promoted) return false;
  if (journal.folded.seq > promoted.seq) return true;
  return (await readSlot(deps, imageId, { epoch, seq: promoted.seq })).kind === 'segment';
}

const behind = ({ journal: { folded } }: Tailed, { slot, firstEntry, entryCount }: Segment): JournalPosition => ({
  ...folded,
  seq: slot.seq + 1,
  entry: firstEntry + entryCount,
});

const endKey = (imageId: string, epoch: string): string => `journal end ${imageId}/${epoch}`;

/** The first slot that is not here: it is free, or has a fence. */
async function endHere(deps: MirrorDeps, { imageId, journal }: Tailed, epoch: EpochId): Promise<number> {
  const known = recall(deps, endKey(imageId, epoch));
  const from = Math.max(journal.folded.seq, typeof known === 'number' ? known : 0);
  return firstFree(from, async (seq) => {
    const meta = await deps.bucket.head(keyText({ kind: 'slot', imageId, epoch, seq }));
    return meta !== undefined && !isFenceSized(meta);
  });
}

async function newestHere(
  deps: MirrorDeps,
  { imageId }: Tailed,
  epoch: EpochId,
  end: number,
): Promise<Segment | undefined> {
  if (end === 0) return undefined;
  const content = await readSlot(deps, imageId, { epoch, seq: end - 1 });
  return content.kind === 'segment' ? content.segment : undefined;
}

type Range = { epoch: EpochId; from: number; untilMs: number };
/** `held`: somebody is about to end the following here. */
type Stopped = 'absent' | 'fence' | 'delayed' | 'held';
type Copied = { segments: Segment[]; bytes: number; stopped: Stopped | 'bound' };

async function copySegments(deps: MirrorDeps, following: Following, { epoch, from, untilMs }: Range): Promise<Copied> {
  const { segmentsMax, segmentsConcurrency, inlineBytesMax } = deps.limits;
  const copied: Omit<Copied, 'stopped'> = { segments: [], bytes: 0 };
  // One at first: mostly there is one, or none.
  for (
    let seq = from, width = 1;
    copied.segments.length < segmentsMax;
    width = Math.min(segmentsConcurrency, 2 * width)
  ) {
    if (copied.bytes >= inlineBytesMax) break;
    const fetched = await fetchAll(following, epoch, seq, width);
    for (const answer of fetched) {
      const taken = await take(deps, following, { epoch, seq }, answer, untilMs);
      if (typeof taken === 'string') return { ...copied, stopped: taken };
      copied.segments.push(taken);
      copied.bytes += taken.pack.packBytes;
      seq++;
      remember(deps, endKey(following.stored.value.imageId, epoch), seq);
    }
  }
  return { ...copied, stopped: 'bound' };
}

type Answer = Awaited<ReturnType<Peer['segment']>>;

const fetchAll = (
  { peer, primaryImageId }: Following,
  epoch: EpochId,
  from: number,
  count: number,
): Promise<Answer[]> =>
  allDone(Array.from({ length: count }, (_, index) => peer.segment(primaryImageId, epoch, from + index)));

/** Verified as a whole before it is put; a sparse one is no segment any more. */
async function take(
  deps: MirrorDeps,
  { stored }: Following,
  slot: { epoch: EpochId; seq: number },
  answer: Answer,
  untilMs: number,
): Promise<Segment | Stopped> {
  if (answer.status !== 'found') return 'absent';
  const { body, release } = answer;
  if (isFence(body, slot)) return 'fence';
  const segment = parseSegment(body, slot);
  if (segment.sealedAtMs > untilMs) return 'delayed';
  if (!parsePackIndex(body, segment.pack.packId).isComplete) return 'absent';
  await (deps.codec ?? inlineCodec).verify(segment.pack.packId, body);
  if (!(await fillHere(deps, stored, slot, body))) return 'held';
  if (deps.bucket.freesBody) release?.();
  return segment;
}

/** False: a fence is there. */
async function fillHere(
  deps: MirrorDeps,
  stored: Stored<Tailed>,
  slot: { epoch: EpochId; seq: number },
  body: Uint8Array,
): Promise<boolean> {
  const { imageId } = stored.value;
  if ((await fillSlot(deps, imageId, slot, body)) || (await holdsBytes(deps, imageId, slot, body))) return true;
  const passing = await passFence(deps, stored, { slot, bytes: body, endMs: deps.limits.standstillMs });
  if (passing !== 'none') return passing === 'passed';
  throw new FarsideError('EBADMSG', `slot ${slot.seq} of epoch ${slot.epoch} holds something else than at the primary`);
}

/** The content does not change by it. */
async function foldNowAndThen(
  deps: MirrorDeps,
  stored: Stored<Tailed>,
  segments: readonly Segment[],
  end: JournalPosition,
  slotsMin: number,
): Promise<void> {
  if (end.seq - stored.value.journal.folded.seq < slotsMin) return;
  await foldTail(deps, stored, { known: new Map(segments.map((segment) => [segment.slot.seq, segment])) });
}
