// Owns the question how far a site's replicas are behind, for alarms: asked after a tick, answered from what polls have noted.
// On a quiet site that is one GET for each peer (and for each pool, unless the tick has just read it), whatever the number of
// images (I11).
//
// Known to be behind is an image whose newer snapshot a poll has read of, while our copy is not at it, or is being copied, or
// stands with an error. An image that has nothing to copy has no lag, however old its newest snapshot. Not seen: a replica that
// stands for a reason only an operator removes, such as split-brain, but right after a comparison; `mirror pool status` has it.

import pLimit from 'p-limit';

import type { Header } from '../../image/header.ts';
import { mirrorSnapshots } from '../../image/header.ts';
import { findImage } from '../peers/catalog.ts';
import type { MirrorDeps } from '../deps.ts';
import { readPeerState, type Pending } from '../peers/peer-state.ts';
import { isAt, lastContactMs } from '../replica/poll.ts';
import { isMirroring, receives, recentPool, type PeerRecord } from '../pool.ts';
import { promotionState } from '../roles/roles.ts';

/**
 * `lagMs`: age of the newest complete recovery point of the image that is furthest behind; 0: none is known to be. Of an
 * image that has no recovery point yet, the time since its first copy began.
 * `peersUnreachable`: peers that we receive from and that no poll of this process has reached for two ticks.
 */
export type MirrorLag = { lagMs: number; peersUnreachable: number };

/** Two ticks: one may be late. */
const silentMs = 2 * 60 * 1000;
/** Headers read at once, and at most: those that have waited longest. */
const readsMax = 16;

/** To be asked by the process that has just polled. Pools that do not mirror count for nothing. */
export async function mirrorLag(deps: MirrorDeps, pools: readonly string[]): Promise<MirrorLag> {
  const total: MirrorLag = { lagMs: 0, peersUnreachable: 0 };
  for (const name of pools) {
    const pool = await recentPool(deps, name);
    if (!isMirroring(pool)) continue;
    for (const peer of pool.peers.filter(receives)) {
      total.lagMs = Math.max(total.lagMs, await lagBehind(deps, name, peer));
      if (!isReached(deps, name, peer)) total.peersUnreachable += 1;
    }
  }
  return total;
}

function isReached(deps: MirrorDeps, pool: string, { uuid }: PeerRecord): boolean {
  const contactMs = lastContactMs(deps, pool, uuid);
  return contactMs !== undefined && deps.clock.nowMs() - contactMs < silentMs;
}

async function lagBehind(deps: MirrorDeps, pool: string, peer: PeerRecord): Promise<number> {
  const nowMs = deps.clock.nowMs();
  const { pending } = await readPeerState(deps, pool, peer.uuid);
  const oldestFirst = Object.entries(pending).toSorted(([, a], [, b]) => a.sinceMs - b.sinceMs);
  const limit = pLimit(readsMax);
  const lags = await Promise.all(
    oldestFirst.slice(0, deps.limits.pollPendingMax).map(([globalId, entry]) =>
      limit(async () => {
        const stored = await findImage(deps, pool, globalId);
        const pointMs = stored ? behindSinceMs(stored.value, entry, peer) : missingSinceMs(entry);
        return pointMs === undefined ? 0 : nowMs - pointMs;
      }),
    ),
  );
  return Math.max(0, ...lags);
}

/** The peer has a snapshot of an image that is not here at all. Without a snapshot the image may be gone there too. */
const missingSinceMs = ({ snapId, sinceMs }: Pending[string]): number | undefined =>
  snapId === undefined ? undefined : sinceMs;

/** The time of the newest complete recovery point of an image that is known to be behind; undefined: it is not. */
function behindSinceMs(
  header: Header,
  { snapId, sinceMs }: Pending[string],
  { mirrorUuid }: Pick<PeerRecord, 'mirrorUuid'>,
): number | undefined {
  const { sync, problem, lastSync } = header.mirror!;
  if (promotionState(mirrorSnapshots(header)) === 'primary') return undefined;
  const isBehind =
    sync !== undefined || problem?.error === true || (snapId !== undefined && !isAt(header, mirrorUuid, snapId));
  return isBehind ? (lastSync?.remoteTimestampMs ?? sync?.startedAtMs ?? sinceMs) : undefined;
}
