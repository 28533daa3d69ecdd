// Owns the `snapshot` message: the mirror snapshot of one schedule slot. A slot is taken once: the swap that adds the snapshot
// looks for the slot in the very header that it changes.
//
//   snapshot (slot 12:00)                     snapshot (slot 12:00, repeated)
//   reads the header                          reads the header
//   compare-and-swap: snapshot of 12:00
//                                             compare-and-swap fails; reads again; 12:00 is taken: nothing to do
//
// A slot counts as taken when the newest snapshot with a slot has this one or a later one, so a message that comes very late
// takes no snapshot for a time long past.
//
// An image in use whose writer has a quiesce hook (lib/image/journal/quiesce.ts): the request is left, and the message sends itself on until
// the writer has answered, without waiting here (I10). A recovery point matters more than a hook that fails or is slow, so the
// snapshot is taken all the same then, `slotPatienceMs` after the slot's time at the latest, by this message or the tick's next. It says
// so (`quiesceFailure`), for nobody is there to be told.

import { FarsideError } from '../../errors.ts';
import { readHeader } from '../../image/access.ts';
import { foldTail } from '../../image/journal/fold.ts';
import { mirrorSnapshots } from '../../image/header.ts';
import type { Header } from '../../image/header.ts';
import { awaitsQuiesce, notQuiesced, withoutRequest } from '../../image/journal/quiesce.ts';
import { updateWhole } from '../../image/whole.ts';
import type { MirrorDeps } from '../deps.ts';
import { announceNewest, changed, drawn, mirrored } from '../verbs/images.ts';
import type { Message, Outcome } from '../messages.ts';
import { recentPool, sends } from '../pool.ts';
import { canCreateSnapshot, primarySnapshot } from '../roles/role-changes.ts';
import { promotionState } from '../roles/roles.ts';

/** Less than a slot is sent again for (lib/site/tick.ts), so that no lost message loses it. */
const slotPatienceMs = 2 * 60 * 1000;
/** Between two looks for the writer's answer: how long its applications stand still beyond what is needed. */
const lookEveryMs = 1000;

export async function handleSnapshot(
  deps: MirrorDeps,
  message: Extract<Message, { type: 'snapshot' }>,
): Promise<Outcome> {
  const { pool, imageId, slotMs } = message;
  const value = await recentPool(deps, pool);
  const peerUuids = value.peers.filter(sends).map((peer) => peer.uuid);
  const stored = await readHeader(deps, imageId);
  if (!stored) return { kind: 'ack' }; // the image was removed
  const isDue = (header: Header): boolean =>
    canCreateSnapshot(mirrored(header), promotionState(mirrorSnapshots(header)), peerUuids) === undefined &&
    !isTaken(header, slotMs);
  const request = { id: `slot-${slotMs}`, untilMs: slotMs + slotPatienceMs };
  if (isDue(stored.value) && (await awaitsQuiesce(deps, stored, request))) {
    await deps.queue.send([message], { delayMs: lookEveryMs });
    return { kind: 'ack' };
  }
  const now = { ...(await drawn(deps, value, stored.value)), slotMs };
  let taken = false;
  const take = (header: Header): Header | undefined => {
    taken = isDue(header);
    const released = withoutRequest(header, request);
    const change = primarySnapshot(mirrorSnapshots(header), peerUuids);
    const quiesceFailure = notQuiesced(header, request);
    if (taken) return changed(deps, released, change, value, { ...now, quiesceFailure });
    return released === header ? undefined : released;
  };
  try {
    const { value: header } = await updateWhole(deps, stored, foldTail, take);
    if (taken) await announceNewest(deps, value, header);
  } catch (error) {
    if (!(error instanceof FarsideError) || error.code !== 'ENOENT') throw error; // the same, meanwhile
  }
  return { kind: 'ack' };
}

/** Also by a snapshot that somebody asked for since: a new schedule takes its first one at its next slot, as rbd's does. */
const isTaken = (header: Header, slotMs: number): boolean =>
  mirrorSnapshots(header).some(
    ({ namespace, createdAtMs }) => (namespace.slotMs ?? -Infinity) >= slotMs || createdAtMs >= slotMs,
  );
