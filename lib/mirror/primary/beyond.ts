// Owns what a site in the middle of a chain tells the one before it of those behind it, which shows it (status/status.ts): A → B → C,
// and A shows how C stands. Only the source of a copy is told, and nothing but name, identity and status of the sites that have a copy from there.
//
//   what                      goes with                         is kept in
//   statuses of an image      each report of it (report.ts)     the peer's status there
//   when sites were heard of  each heartbeat (poll.ts)          the peer's state there
//
// Not promised: freshness. A changed state takes the next tick of each site on the way; numbers go with the next report.

import { mirrorSnapshots } from '../../image/header.ts';
import { statusFrom } from './acknowledge.ts';
import { addPending } from '../peers/announce.ts';
import { findImage } from '../peers/catalog.ts';
import type { MirrorDeps } from '../deps.ts';
import {
  beyondDescriptionMax,
  beyondMax,
  type Heartbeat,
  type PeerStatus,
  type StatusBeyond,
} from '../peer-protocol.ts';
import { readPeerState, type Connection, type PeerState } from '../peers/peer-state.ts';
import { recentPool, sends, type PeerRecord, type Pool } from '../pool.ts';
import { promotionState } from '../roles/roles.ts';
import { saysPrimary, type StatusText } from '../copy-status.ts';

/** Those that we feed, but for the one that is to be told of them. */
const fed = (pool: Pool, { uuid }: PeerRecord): PeerRecord[] =>
  pool.peers.filter((peer) => sends(peer) && peer.uuid !== uuid).slice(0, beyondMax);

/** Nearer sites first. A primary's replicas are no business of another replica. One read for each site that is fed. */
export async function statusesBeyond(
  deps: MirrorDeps,
  { pool, record }: Pick<Connection, 'pool' | 'record'>,
  globalId: string,
  own: StatusText,
): Promise<StatusBeyond[]> {
  if (saysPrimary(own)) return [];
  const near: StatusBeyond[] = [];
  const far: StatusBeyond[] = [];
  for (const { uuid, siteName, mirrorUuid } of fed(pool, record)) {
    const said = await statusFrom(deps, pool.name, globalId, uuid);
    if (!said) continue;
    const { state, description, updatedAtMs, beyond = [] } = said;
    near.push({ siteName, mirrorUuid, state, description: description.slice(0, beyondDescriptionMax), updatedAtMs });
    far.push(...beyond);
  }
  return eachOnce([...near, ...far], [pool.mirror.mirrorUuid, record.mirrorUuid]).slice(0, beyondMax);
}

/** Each site once, and not those: sites may feed each other in a ring. */
export function eachOnce<T extends { mirrorUuid: string }>(sites: readonly T[], mirrorUuids: readonly string[]): T[] {
  const known = new Set(mirrorUuids);
  return sites.filter(({ mirrorUuid }) => !known.has(mirrorUuid) && known.add(mirrorUuid));
}

export async function heardBeyond(
  deps: MirrorDeps,
  { pool, record }: Pick<Connection, 'pool' | 'record'>,
): Promise<Heartbeat['beyond']> {
  const nowMs = deps.clock.nowMs();
  const heard: NonNullable<Heartbeat['beyond']> = [];
  const peers = fed(pool, record);
  const states = await Promise.all(peers.map((peer) => readPeerState(deps, pool.name, peer.uuid)));
  peers.forEach(({ mirrorUuid }, index) => {
    const { seenAtMs, beyond = {} } = states[index]!;
    if (seenAtMs > 0) heard.push({ mirrorUuid, agoMs: Math.max(0, nowMs - seenAtMs) });
    for (const [uuid, atMs] of Object.entries(beyond))
      heard.push({ mirrorUuid: uuid, agoMs: Math.max(0, nowMs - atMs) });
  });
  const others = eachOnce(heard, [pool.mirror.mirrorUuid, record.mirrorUuid]).slice(0, beyondMax);
  return others.length === 0 ? undefined : others;
}

/** As the peer's state keeps it. */
export const seenBeyond = (heard: NonNullable<Heartbeat['beyond']>, nowMs: number): NonNullable<PeerState['beyond']> =>
  Object.fromEntries(heard.map(({ mirrorUuid, agoMs }) => [mirrorUuid, nowMs - agoMs]));

/** A site that we feed says something new: the one that feeds us is told at the next tick. */
export async function passOn(
  deps: MirrorDeps,
  pool: string,
  globalId: string,
  { before, now }: { before: PeerStatus | undefined; now: PeerStatus },
): Promise<void> {
  if (statesText(before) === statesText(now)) return;
  const { peers } = await recentPool(deps, pool);
  if (peers.length < 2) return;
  const header = (await findImage(deps, pool, globalId))?.value;
  const source = header?.mirror?.lastSync?.peerUuid;
  if (!header || source === undefined || promotionState(mirrorSnapshots(header)) === 'primary') return;
  if (peers.some(({ uuid }) => uuid === source)) await addPending(deps, pool, source, globalId);
}

const statesText = (status: PeerStatus | undefined): string =>
  status === undefined ? '' : [status, ...(status.beyond ?? [])].map(({ state }) => state).join(' ');
