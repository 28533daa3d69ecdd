// Owns replicas that are late on purpose (`rbd_mirroring_replay_delay`, journal mode). For such a replica a point, like a segment
// (follow.ts), is not there until it is old enough: so what was at the primary before a mistake can be had, whatever was done to the
// image after it.
//
// As in rbd, a first sync and a resync take the image as it is. So does a copy that has begun.

import type { Stored } from '../../bucket/document.ts';
import { mirrorSnapshots } from '../../image/header.ts';
import type { Header } from '../../image/header.ts';
import { optionOf } from '../../image/options.ts';
import { recentLevels } from '../config.ts';
import type { MirrorDeps } from '../deps.ts';
import { findPoint, newestPoint, takenAtMs } from '../roles/history.ts';
import type { PeerImage } from '../peer-protocol.ts';
import { mirrorOf } from '../pool.ts';
import type { Pool } from '../pool.ts';

export async function replayDelayMs(deps: MirrorDeps, { pool, meta }: Header): Promise<number> {
  return optionOf('rbd_mirroring_replay_delay', await recentLevels(deps, pool, meta)) * 1000;
}

export type Delayed = {
  remote: PeerImage;
  /** There is more, which will be old enough without anybody saying so. */
  isWaiting: boolean;
};

/** What the peer has of an image, without the points that are too young for the replica here. */
export async function asDelayed(
  deps: MirrorDeps,
  pool: Pool,
  stored: Stored<Header> | undefined,
  remote: PeerImage,
): Promise<Delayed> {
  if (!stored || remote.status !== 'present' || !isReplaying(stored.value)) return { remote, isWaiting: false };
  const delayMs = await replayDelayMs(deps, stored.value);
  if (delayMs === 0) return { remote, isWaiting: false };
  const untilMs = deps.clock.nowMs() - delayMs;
  const ownId = idThere(pool, stored.value, remote);
  const snapshots = remote.snapshots.filter((one) => one.id <= ownId || takenAtMs(one) <= untilMs);
  return { remote: { ...remote, snapshots }, isWaiting: snapshots.length < remote.snapshots.length };
}

const isReplaying = ({ mirror }: Header): boolean =>
  mirror?.mode === 'journal' && mirror.state === 'enabled' && !mirror.sync && mirror.resyncRequestedAtMs === undefined;

/** Of the point that the replica stands at, where the peer has it. */
function idThere(
  pool: Pool,
  header: Header,
  { mirrorUuid, snapshots }: Extract<PeerImage, { status: 'present' }>,
): number {
  const here = { mirrorUuid: mirrorOf(pool, header.namespace)?.mirrorUuid ?? '', snapshots: mirrorSnapshots(header) };
  const own = newestPoint(here);
  return (own && findPoint(own, here, { mirrorUuid, snapshots })?.id) ?? 0;
}
