// Owns what explains points: those that primaries take, and copies of them at replicas, which may lose nothing (I9).

import { isNonPrimary } from '../../../lib/image/access.ts';
import type { Header, MirrorSnapshot } from '../../../lib/image/header.ts';
import { hasTail } from '../../../lib/image/journal/fold.ts';
import { contentOf, type Content } from '../bucket-reader.ts';
import { recordedView, viewText, type ImageView } from '../image-view.ts';
import { covers, type Reach } from './journal-truth.ts';
import { Violation } from '../violation.ts';
import { written } from './commands.ts';
import { followedTo, withReach } from './head.ts';
import { describe, type ImageTruth, type Point } from './image-truth.ts';
import { bears, isFold, rootView, unexplained, type Moment, type Place } from './moment.ts';

/** Whose every change is a point. */
export const takesPoints = (header: Header): boolean => header.mirror?.mode === 'journal' && !isNonPrimary(header);

/** A change of a primary whose replicas follow its journal is a point of it. */
export function journaled(moment: Moment, added: readonly MirrorSnapshot[], isSame: boolean): void {
  const { truth, before, header, operation } = moment;
  if (!isSame) written(moment);
  else if (operation && bears(operation, truth) && !isFold(before, header)) operation.take('write');
  for (const snapshot of added) notePoint(moment, snapshot, false);
}

export function pointed(moment: Moment, added: readonly MirrorSnapshot[], isSame: boolean): void {
  const { truth, origin } = moment;
  for (const snapshot of added) {
    const { state, primaryMirrorUuid } = snapshot.namespace;
    if (state === 'primary' || state === 'primary-demoted') {
      if (!isSame) throw unexplained(truth, `it changed while ${origin.label} took a mirror snapshot`);
      ownPoint(moment, snapshot);
    } else if (primaryMirrorUuid !== '') copied(moment, snapshot);
  }
}

function ownPoint(moment: Moment, snapshot: MirrorSnapshot): void {
  const { place, truth, header, before, operation, origin } = moment;
  const { state, slotMs } = snapshot.namespace;
  const globalId = header.mirror!.globalId;
  const kind =
    state === 'primary-demoted'
      ? 'demote'
      : before.mirror === undefined
        ? 'enable'
        : truth.role === 'primary'
          ? 'snapshot'
          : 'promote';
  const isAsked = operation ? operation.take(kind) !== undefined : kind === 'snapshot' && slotMs !== undefined;
  if (!isAsked && !(kind === 'enable' && isByFeature(moment)))
    throw unexplained(truth, `${origin.label} made a point of it (${kind})`);
  if (kind === 'demote' && truth.role !== 'primary')
    throw new Violation('model', `${truth.title} is ${truth.role} and was demoted`);
  if (slotMs !== undefined) takeSlot(place, truth, globalId, slotMs);
  notePoint(moment, snapshot, kind === 'demote');
  if (kind === 'promote') truth.isResyncAsked = false;
}

function notePoint({ place, truth, header, view }: Moment, snapshot: MirrorSnapshot, isDemotion: boolean): void {
  const recorded = recordedView(place.reader, place.objects, header, snapshot);
  // What came into the journal since it was folded is not in it.
  const whole = hasTail(header) ? rootView(place, header) : view;
  const plain = { ...whole, snapshots: whole.snapshots.map((one) => ({ ...one, isKept: false })) };
  if (viewText(recorded) !== viewText(plain))
    throw new Violation(
      'model',
      `mirror snapshot ${snapshot.id} of ${truth.title} recorded ${viewText(recorded)}, not ${viewText(plain)}`,
    );
  const { position } = snapshot.namespace;
  const line = new Set(truth.line);
  const point: Point = {
    site: place.name,
    mirrorUuid: place.mirrorUuid,
    globalId: header.mirror!.globalId,
    snapId: snapshot.id,
    isDemotion,
    view: recorded,
    line,
    position,
    reach: position ? withReach(truth.reach, position.epoch, position.seq) : truth.reach,
  };
  line.add(point);
  place.world.register(point);
  const { reach } = truth;
  moveTo(truth, point, reach);
  truth.isDirty = recorded.content.id !== view.content.id;
}

/** Whoever is at work there: its pool mirrors it because it has the journaling feature. */
const isByFeature = ({ place, before, header }: Moment): boolean =>
  header.mirror?.mode === 'journal' &&
  before.features.includes('journaling') &&
  place.haveMirroredByFeature.has(header.namespace);

/** I3: a slot is taken once, however often its message is handled. */
function takeSlot({ slots }: Place, truth: ImageTruth, globalId: string, slotMs: number): void {
  const last = slots.get(globalId) ?? -Infinity;
  if (slotMs <= last) throw new Violation('I3', `the slot ${slotMs} of ${truth.title} was taken twice`);
  slots.set(globalId, slotMs);
}

function copied({ place, truth, header, view, origin }: Moment, snapshot: MirrorSnapshot): void {
  const { primaryMirrorUuid = '', primarySnapId = -1 } = snapshot.namespace;
  const point = place.world.point(primaryMirrorUuid, header.mirror!.globalId, primarySnapId);
  if (!point)
    throw new Violation(
      'I2',
      `${truth.title} claims to be at snapshot ${primarySnapId} of ${primaryMirrorUuid}, which was never taken`,
    );
  const isOtherName = header.mirror?.problem?.description.includes('name') === true;
  const content = hasTail(header) ? followedTo(place, truth, point, header) : point.view.content;
  const expected = { ...point.view, content, ...(isOtherName && { name: view.name }) };
  const [is, should] = [viewText(view, { replicated: true }), viewText(expected)];
  if (is !== should)
    throw new Violation(
      'I2',
      `${truth.title} was completed to snapshot ${primarySnapId} by ${origin.label} and shows ${is}, the snapshot holds ${should}`,
    );
  const reach = hasTail(header)
    ? withReach(point.reach, header.journal.folded.epoch, place.reader.endOf(place.objects, header))
    : point.reach;
  checkNothingLost(truth, point, view, reach);
  moveTo(truth, point, reach);
  // One that was asked for while another copy was under way is still to be done.
  truth.isResyncAsked &&= header.mirror?.resyncRequestedAtMs !== undefined;
}

/** I9, for a copy about to move to `point`. */
function checkNothingLost(truth: ImageTruth, point: Point, view: ImageView, reach: Reach): void {
  const { newest, role } = truth;
  if (role === 'primary')
    throw new Violation(
      'I9',
      `${truth.title} is primary and was overwritten with snapshot ${point.snapId} of ${point.site}`,
    );
  const goesOn = newest === undefined ? role === 'creating' : point.line.has(newest) && point !== newest;
  const isCovered = covers(reach, truth.reach);
  if (goesOn && !truth.isDirty && isCovered) return;
  if (!truth.isResyncAsked) {
    const how = newest && newest.line.has(point) ? 'went back' : 'had diverged and was overwritten';
    throw new Violation(
      newest && newest.line.has(point) ? 'I3' : 'I9',
      `${truth.title} ${how}: from ${describe(newest)} to ${describe(point)}, without a resync`,
    );
  }
  const data = new Set(view.snapshots.map(({ content }) => dataOf(content)));
  for (const { view: past } of point.line)
    for (const { content } of [past, ...past.snapshots]) data.add(dataOf(content));
  // What lies between two points of the line is in no point of it.
  const isInHistory = newest !== undefined && point.line.has(newest) && isCovered;
  const head = isInHistory ? [] : [{ name: 'its head', content: truth.view.content }];
  const had = [...head, ...truth.view.snapshots];
  const lost = had.find(({ content }) => dataOf(content) !== '' && !data.has(dataOf(content)));
  if (lost) throw new Violation('I9', `the resync of ${truth.title} to ${describe(point)} lost ${lost.name}`);
  const keptBefore = truth.view.snapshots.filter(({ isKept }) => isKept).length;
  if (view.snapshots.filter(({ isKept }) => isKept).length < keptBefore)
    throw new Violation('I9', `the resync of ${truth.title} dropped a kept snapshot`);
}

function moveTo(truth: ImageTruth, point: Point, reach: Reach): void {
  truth.line = point.line;
  truth.newest = point;
  truth.reach = reach;
  truth.isDirty = false;
}

/** Content but for zeros at its end: a root stands for it, whatever the size. Empty: there is none. */
function dataOf({ bytes }: Content): string {
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === 0) end -= 1;
  return end === 0 ? '' : contentOf(bytes.subarray(0, end)).id;
}
