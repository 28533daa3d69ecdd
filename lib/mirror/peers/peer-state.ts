// Owns what a site knows about one peer besides the pool's record of it: the connection, and pools/{pool}/peers/{uuid}.json,
// which says how far we have read the peer's feed and which images are still to be looked at.

import { z } from 'zod';

import { createDocument, readDocument, updateDocument } from '../../bucket/document.ts';
import { keyText } from '../../bucket/keys.ts';
import type { MirrorDeps } from '../deps.ts';
import type { Peer } from '../peer-protocol.ts';
import { persistent } from '../persistent.ts';
import { isMirroring, recentPool } from '../pool.ts';
import type { MirroringPool, PeerRecord } from '../pool.ts';

export type Connection = { pool: MirroringPool; record: PeerRecord; peer: Peer };

/** Undefined when the pool has no such peer, or does not mirror (any more). */
export async function connectPeer(deps: MirrorDeps, pool: string, peerUuid: string): Promise<Connection | undefined> {
  const value = await recentPool(deps, pool);
  const record = value.peers.find((candidate) => candidate.uuid === peerUuid);
  if (!record || !isMirroring(value)) return undefined;
  return { pool: value, record, peer: persistent(deps, await deps.peers(pool, record)) };
}

/**
 * pools/{pool}/peers/{uuid}.json: how far we are with a peer.
 * - `cursor`: next record of its feed. `comparedAtMs`: last full comparison; 0: never.
 * - `pending`: images to look at, by global id; see poll.ts. `turnMs`: when a poll last tried in vain, so its place among them.
 * - `seenAtMs`, `seenCursor`: the peer's last heartbeat, and how far it has read our feed.
 * - `beyond`: when the sites that the peer feeds were last heard of, by their mirror uuids, as the peer said.
 * - `trouble`: why our last poll had no answer from it; not there when it had one.
 */
const peerStateSchema = z.object({
  cursor: z.int().min(0),
  comparedAtMs: z.number(),
  pending: z.record(
    z.string(),
    z.object({
      snapId: z.int().min(0).optional(),
      mirrorUuid: z.string().optional(),
      sinceMs: z.number(),
      turnMs: z.number().optional(),
    }),
  ),
  seenAtMs: z.number(),
  seenCursor: z.int().min(0),
  beyond: z.record(z.string(), z.number()).optional(),
  trouble: z.enum(['unreachable', 'refused']).optional(),
});
export type PeerState = z.infer<typeof peerStateSchema>;
export type Pending = PeerState['pending'];
export type Trouble = NonNullable<PeerState['trouble']>;

export const newPeerState: PeerState = { cursor: 0, comparedAtMs: 0, pending: {}, seenAtMs: 0, seenCursor: 0 };

const peerStateKey = (pool: string, peerUuid: string): string => keyText({ kind: 'peer', pool, peerUuid });

export async function readPeerState(deps: MirrorDeps, pool: string, peerUuid: string): Promise<PeerState> {
  return (await readDocument(deps.bucket, peerStateKey(pool, peerUuid), peerStateSchema))?.value ?? newPeerState;
}

export async function updatePeerState(
  deps: MirrorDeps,
  pool: string,
  peerUuid: string,
  change: (state: PeerState) => PeerState | undefined,
): Promise<void> {
  const key = peerStateKey(pool, peerUuid);
  const update = () => updateDocument(deps.bucket, key, peerStateSchema, deps.random, deps.clock, change);
  if (await update()) return;
  const first = change(newPeerState);
  if (first && !(await createDocument(deps.bucket, key, first, deps.random))) await update();
}
