// Owns what a completed sync makes of a replica's head where its primary is mirrored by its journal. Pure.
//
// A point that was taken while an epoch was open says where in it (`position`): the replica follows from there, by the slots
// that it has copied and will copy. Content never goes backwards:
//
// - Slots behind the point that are here already stay the tail of the new root.
// - A replica that has folded further in the very epoch than the point is keeps its root: within an open epoch nothing but the
//   writer changes the content, so what it has is what the primary became after the point.

import { closedJournal } from '../../image/journal/epochs.ts';
import type { Header, Journal, MirrorSnapshot } from '../../image/header.ts';

export type Head = Pick<Header, 'root' | 'journal'>;

export function headAt({ root, journal, mirror }: Header, target: MirrorSnapshot): Head {
  const { position } = target.namespace;
  if (mirror?.mode !== 'journal' || !position)
    return { root: target.root, ...(journal && { journal: ended(journal) }) };
  if (journal && isFurther(journal, position)) return { root, journal };
  const past = journal ? pastOf(journal, position.epoch) : [];
  const fencesPassed = journal?.folded.epoch === position.epoch ? journal.fencesPassed : undefined;
  const next: Journal = {
    state: 'following',
    folded: position,
    past,
    ...(fencesPassed !== undefined && { fencesPassed }),
  };
  return { root: target.root, journal: next };
}

/** Whether the replica, following that epoch, has folded more of it than the point holds. */
const isFurther = ({ state, folded }: Journal, position: Journal['folded']): boolean =>
  state === 'following' && folded.epoch === position.epoch && folded.seq > position.seq;

const ended = (journal: Journal): Journal => (journal.state === 'following' ? closedJournal(journal) : journal);

const pastOf = (journal: Journal, epoch: string): Journal['past'] =>
  journal.folded.epoch === epoch ? journal.past : closedJournal(journal).past;

/**
 * Whether the point lies before what this image once had of that epoch and follows no more (it was promoted, or kept as it was): slots
 * between may have been collected here, so a newer point is needed.
 */
export function isBeforeOurs({ journal }: Header, target: MirrorSnapshot): boolean {
  const { position } = target.namespace;
  if (!position || !journal || isFurther(journal, position)) return false;
  const known = [
    ...journal.past.map(({ epoch, endSeq }) => ({ epoch, seq: endSeq })),
    { epoch: journal.folded.epoch, seq: journal.folded.seq },
  ];
  return known.some(({ epoch, seq }) => epoch === position.epoch && seq > position.seq);
}
