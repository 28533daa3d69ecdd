// Owns what explains the head of an image that has a journal: slots that its writer fills, slots that a replica follows, epochs that
// begin, and the end of following.

import type { Header } from '../../../lib/image/header.ts';
import type { Tailed } from '../../../lib/image/journal/fold.ts';
import { isNonPrimary } from '../../../lib/image/access.ts';
import type { Content } from '../bucket-reader.ts';
import { viewOf } from '../image-view.ts';
import type { Reach } from './journal-truth.ts';
import { Operation } from '../operation.ts';
import type { Origin } from '../scheduler.ts';
import { Violation } from '../violation.ts';
import { isWritable, type ImageTruth, type Point } from './image-truth.ts';
import { unexplained, type Moment, type Place } from './moment.ts';

export const withReach = (reach: Reach, epoch: string, seq: number): Reach => new Map([...reach, [epoch, seq]]);

/** By its writer. */
export function appended({ reader, objects, world }: Place, truth: ImageTruth, seq: number, origin: Origin): void {
  const epoch = truth.header.journal!.folded.epoch;
  const view = viewOf(reader, objects, truth.header);
  const writer = origin.operation instanceof Operation ? origin.operation.writer : undefined;
  if (writer?.epoch !== epoch)
    throw new Violation('I6', `${truth.title} was written by ${origin.label}, which has no epoch of it`);
  if (!isWritable(truth.role)) throw new Violation('I8', `${truth.title} is ${truth.role} and was written`);
  if (view.content.id !== truth.view.content.id && !writer.lands(view.content))
    throw new Violation('I5', `the head of ${truth.title} is no prefix of what ${origin.label} wrote`);
  world.journals.landed(epoch, seq, writer.landedCount);
  truth.reach = withReach(truth.reach, epoch, seq + 1);
  truth.view = view;
  truth.isDirty = true;
  truth.noteShown();
}

/** By what its primary's writer wrote. */
export function followed(place: Place, truth: ImageTruth, header: Tailed, origin: Origin): void {
  const { reader, objects } = place;
  const { epoch } = header.journal.folded;
  const view = viewOf(reader, objects, header);
  const end = reader.endOf(objects, header);
  const expected = followedTo(place, truth, truth.newest, header);
  if (expected.id !== view.content.id)
    throw new Violation(
      'I2',
      `${truth.title} got slot ${end - 1} of epoch ${epoch} by ${origin.label} and shows ${view.content.id}, not ${expected.id}`,
    );
  truth.reach = withReach(truth.reach, epoch, end);
  truth.view = view;
  truth.noteShown();
}

/** What a replica at a point must show with the slots that it has behind it. */
export function followedTo(
  { reader, objects, world: { journals } }: Place,
  { title, reach }: ImageTruth,
  point: Point | undefined,
  header: Tailed,
): Content {
  const { epoch } = header.journal.folded;
  const end = reader.endOf(objects, header);
  if (point?.position?.epoch !== epoch)
    throw new Violation('I2', `${title} follows epoch ${epoch} without a point in it`);
  if (end > journals.endOf(epoch))
    throw new Violation('I6', `${title} has slot ${end - 1} of epoch ${epoch}, which the epoch's writer never wrote`);
  if (end < (reach.get(epoch) ?? 0))
    throw new Violation('I2', `${title} went back to slot ${end} of epoch ${epoch}; it was at ${reach.get(epoch)}`);
  return journals.contentAt(point.view.content, point.position, end);
}

/** Promoted, or not mirrored any more: it follows nobody. */
export const isLeftToItself = (before: Header, header: Header): boolean =>
  before.journal?.state === 'following' && (header.mirror === undefined || !isNonPrimary(header));

/** What it had of a journal, and may have reported, is in an image that follows no more. */
export function leaveBehind({ truth, header }: Moment): void {
  const { epoch, seq } = header.journal!.folded;
  const end = truth.reach.get(epoch) ?? 0;
  if (truth.newest?.position !== undefined && seq < end)
    throw new Violation('I5', `${truth.title} was left with ${seq} slots of epoch ${epoch}; it had ${end}`);
}

/** Whoever's command puts a new epoch into the header is its writer. */
export function noteEpoch({ place, truth, before, header, view, operation, origin }: Moment): void {
  const { journal } = header;
  if (journal?.state !== 'open' || journal.folded.epoch === before.journal?.folded.epoch) return;
  if (!operation?.writer) throw unexplained(truth, `${origin.label} attached it`);
  if (!isWritable(truth.role)) throw new Violation('I8', `${truth.title} is ${truth.role} and was attached`);
  truth.writer = operation.writer;
  place.world.journals.begin(journal.folded.epoch, operation.writer);
  operation.writer.begin(truth, journal.folded.epoch, view.content);
}
