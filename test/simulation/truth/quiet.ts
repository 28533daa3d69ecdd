// Owns what is true of images whose writers hold still for a snapshot: it is at the very request at which the writer's hook said so,
// wherever either side dies.

import { ownerOf } from '../../../lib/image/journal/attachment.ts';
import { Violation } from '../violation.ts';
import { rootView, type Moment } from './moment.ts';

/** A writer answers. */
export function noteQuiet({ truth, before, header }: Moment): void {
  const [was, is] = [before.journal?.quiesce, header.journal?.quiesce];
  if (is?.state !== 'quiesced' || (was?.id === is.id && was.state === 'quiesced') || !truth.writer) return;
  truth.quiet = { id: is.id, writer: truth.writer, requestCount: truth.writer.stillCount };
}

/** I5, of a snapshot that was asked for with its writer quiesced. */
export function checkQuiesced({ place, truth, before, header, operation }: Moment): void {
  const epoch = before.journal?.folded.epoch;
  if (epoch === undefined || !operation?.quiescing.has(epoch) || ownerOf(before)?.quiesces !== true) return;
  const known = new Set(before.snapshots.map(({ id }) => id));
  const added = header.snapshots.find(({ id }) => !known.has(id));
  if (!added) return;
  const asked = before.journal?.quiesce;
  const { quiet } = truth;
  if (asked?.state !== 'quiesced' || quiet?.id !== asked.id || quiet.requestCount === undefined)
    throw new Violation('I5', `snapshot ${added.id} of ${truth.title} was taken before its writer held still`);
  const expected = quiet.writer.contentAfter(quiet.requestCount);
  const { content } = rootView(place, header);
  if (content.id !== expected.id)
    throw new Violation(
      'I5',
      `snapshot ${added.id} of ${truth.title} holds ${content.id}; its writer held still after request ${quiet.requestCount}, at ${expected.id}`,
    );
}
