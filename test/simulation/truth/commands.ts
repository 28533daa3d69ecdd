// Owns what explains changes of an image that are no points: what commands write, the trash, removals, and the end of mirroring.

import { hasTail } from '../../../lib/image/journal/fold.ts';
import { changes, viewText, type Change } from '../image-view.ts';
import type { Operation } from '../operation.ts';
import type { Origin } from '../scheduler.ts';
import { Violation } from '../violation.ts';
import { isWritable, type ImageTruth } from './image-truth.ts';
import { expectView, rootView, unexplained, type Moment, type World } from './moment.ts';

/** Into the trash, or out of it. */
export function trashed(moment: Moment, isSame: boolean): void {
  const { truth, before, header, view, operation } = moment;
  if (!operation) return keptOrBack(moment, isSame);
  if (header.trash) {
    if (before.trash || truth.role !== 'plain' || !isSame || !operation.take('trash'))
      throw unexplained(truth, `it is ${truth.role} and went into the trash`);
    return;
  }
  const effect = operation.take('restore');
  if (!effect) throw unexplained(truth, 'it came out of the trash');
  expectView(truth, { ...truth.view, name: effect.name ?? truth.view.name }, view, operation);
}

/** Mirroring keeps a replica whose primary was disabled, and has it back when that is mirrored again. It shows what it showed. */
function keptOrBack({ place, truth, before, header, view, origin }: Moment, isSame: boolean): void {
  if (header.trash && !isGivenUp(place.world, truth)) throw notGivenUp(truth, origin);
  const isKept = header.trash?.replicaOf === truth.globalId;
  const isBack = before.trash?.replicaOf !== undefined && header.mirror?.state === 'creating' && !header.trash;
  const isUnchanged = isSame || viewText({ ...view, name: truth.view.name }) === viewText(truth.view);
  if (!(header.trash ? isKept : isBack) || !isUnchanged)
    throw unexplained(truth, `it is ${truth.role} and was put away or had back by ${origin.label}`);
  unmirror(truth);
  truth.reach = new Map();
}

export function written(moment: Moment): void {
  const { truth, header, view, operation, origin } = moment;
  const effect = operation?.take('write', 'create');
  if (!operation || !effect) {
    const invariant =
      truth.role === 'replica' || truth.role === 'creating' || truth.role === 'demoted' ? 'I2' : 'model';
    throw new Violation(
      invariant,
      `${truth.title} changed by ${origin.label}, from ${viewText(truth.view)} to ${viewText(view)}`,
    );
  }
  const isOnlyKept = viewText(view, { replicated: true }) === viewText(truth.view, { replicated: true });
  const isPurge = truth.role === 'trashed' && operation.what.startsWith('snap purge ');
  if (!isWritable(truth.role) && !isOnlyKept && !isPurge)
    throw new Violation('I8', `${truth.title} is ${truth.role} but was changed by '${operation.title}'`);
  if (effect.type === 'create' && truth.isAcknowledged)
    throw new Violation(
      'I5',
      `${truth.title}, made by a command that succeeded, was overwritten by '${operation.title}'`,
    );
  if (effect.type === 'write' && hasTail(header)) writtenInUse(moment, effect.change, operation);
  else expectView(truth, effect.type === 'create' ? effect.view : effect.change(truth.view), view, operation);
  truth.isDirty ||= isWritable(truth.role);
}

/** What a command makes of an image, it makes of the root; what is in the journal since then is as it was. */
function writtenInUse({ place, truth, before, header, view }: Moment, change: Change, operation: Operation): void {
  expectView(truth, change(rootView(place, before)), rootView(place, header), operation);
  const { content } = change(truth.view);
  expectView(truth, { ...view, content }, view, operation);
  const { sizeBytes } = header;
  if (sizeBytes !== before.sizeBytes)
    truth.writer?.resize((one) => changes.size(sizeBytes)({ ...view, content: one }).content);
}

export function removed({ place, truth, before, operation, origin }: Moment): void {
  if (before.parent?.unnamed && !truth.isAcknowledged) return; // its making was given up
  if (operation) {
    if (!operation.take('remove')) throw unexplained(truth, `it was removed by '${operation.title}'`);
    if (truth.role !== 'plain' && truth.role !== 'trashed')
      throw new Violation('I8', `${truth.title} is ${truth.role} and was removed by '${operation.title}'`);
    return;
  }
  if (before.trash?.source === 'mirroring' || isGivenUp(place.world, truth)) return;
  throw notGivenUp(truth, origin);
}

/** What has no point yet holds nothing that could be lost. */
function isGivenUp(world: World, { role, globalId, newest }: ImageTruth): boolean {
  if (role === 'creating') return true;
  if (role !== 'replica' || globalId === undefined || newest === undefined) return false;
  return world.hasTombstone(newest.site, globalId);
}

const notGivenUp = (truth: ImageTruth, { label }: Origin): Violation =>
  new Violation('I9', `${truth.title} (${truth.role}) was removed by ${label}, though its primary was not given up`);

export function disabled({ truth, before, operation }: Moment, isSame: boolean): void {
  const isTakenBack = before.parent !== undefined && operation?.take('take back') !== undefined;
  if (isTakenBack) operation.tookBack();
  if (!(isTakenBack || operation?.take('disable')) || !isSame) throw unexplained(truth, 'it stopped being mirrored');
  unmirror(truth);
}

function unmirror(truth: ImageTruth): void {
  truth.line = new Set();
  truth.newest = undefined;
  truth.isDirty = false;
  truth.isResyncAsked = false;
}

export function resyncAsked({ truth, operation, origin }: Moment): void {
  if (!operation?.take('resync')) throw unexplained(truth, `a resync was asked for by ${origin.label}`);
  truth.isResyncAsked = true;
}
