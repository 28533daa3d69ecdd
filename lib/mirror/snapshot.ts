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

import { FarsideError } from '../errors.ts';
import { readHeader, updateHeader } from '../image/access.ts';
import { foldTail } from '../image/fold.ts';
import { mirrorSnapshots } from '../image/header.ts';
import type { Header } from '../image/header.ts';
import type { MirrorDeps } from './deps.ts';
import { announceNewest, changed, drawn, mirrored } from './images.ts';
import type { Message, Outcome } from './messages.ts';
import { recentPool, sends } from './pool.ts';
import { canCreateSnapshot, primarySnapshot } from './role-changes.ts';
import { promotionState } from './roles.ts';

export async function handleSnapshot(
  deps: MirrorDeps,
  { pool, imageId, slotMs }: Extract<Message, { type: 'snapshot' }>,
): Promise<Outcome> {
  const value = await recentPool(deps, pool);
  const peerUuids = value.peers.filter(sends).map((peer) => peer.uuid);
  const found = await readHeader(deps, imageId);
  if (!found) return { kind: 'ack' }; // the image was removed
  const stored = await foldTail(deps, found);
  const now = { ...(await drawn(deps, value, stored.value)), slotMs };
  let taken = false;
  const take = (header: Header): Header | undefined => {
    const snapshots = mirrorSnapshots(header);
    const isDue =
      canCreateSnapshot(mirrored(header), promotionState(snapshots), peerUuids) === undefined &&
      !isTaken(header, slotMs);
    taken = isDue;
    return isDue ? changed(deps, header, primarySnapshot(snapshots, peerUuids), value, now) : undefined;
  };
  try {
    const { value: header } = await updateHeader(deps, stored, take, { byMirroring: true });
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
