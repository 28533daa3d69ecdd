// Owns what the primary does when a replica reports: forget it on snapshots that it no longer needs, delete the delta that it
// has finished, keep its status. Late and repeated reports are harmless: an acknowledgement only unlinks what is older than
// the snapshot that it names, and the newer status wins.

import type { z } from 'zod';

import { createDocument, readDocument, replaceDocument } from '../../bucket/document.ts';
import type { Stored } from '../../bucket/document.ts';
import { keyText } from '../../bucket/keys.ts';
import { updateHeader } from '../../image/access.ts';
import { mirrorSnapshots } from '../../image/header.ts';
import type { Header } from '../../image/header.ts';
import { findImage, hasSeen } from '../peers/catalog.ts';
import { deleteDelta } from './delta.ts';
import type { MirrorDeps } from '../deps.ts';
import type { StoredStatus } from '../copy-status.ts';
import { oneLine, peerStatusSchema } from '../peer-protocol.ts';
import type { Ack, PeerStatus } from '../peer-protocol.ts';
import { recall, remember } from '../recent.ts';
import { pruned, unlinkPeer, withPeerSets } from '../roles/retention.ts';

/** @returns what the peer said before, as far as this process remembers */
export async function acknowledge(
  deps: MirrorDeps,
  pool: string,
  peerUuid: string,
  globalId: string,
  ack: Ack,
): Promise<PeerStatus | undefined> {
  // A mere status of an image that we have just shown to the peer needs no look at it.
  if (ack.synced || !hasSeen(deps, pool, globalId)) {
    const stored = await findImage(deps, pool, globalId);
    if (!stored) return undefined; // mirroring was given up meanwhile
    if (ack.synced) await forgetOlder(deps, stored, peerUuid, ack.synced);
  }
  const key = keyText({ kind: 'status', pool, globalId, peerUuid });
  const before = recall(deps, key) as Stored<PeerStatus> | undefined;
  if (ack.status) await keepStatus(deps, key, heardAt(ack.status, deps.clock.nowMs()));
  return before?.value;
}

/** A peer whose clock is ahead, or was once, would have said what is newer than all that it says later. */
function heardAt({ beyond, ...status }: PeerStatus, nowMs: number): PeerStatus {
  const heard = <T extends StoredStatus>(one: T): T => ({
    ...one,
    description: oneLine(one.description),
    updatedAtMs: Math.min(Math.max(0, one.updatedAtMs), nowMs),
  });
  const told = beyond?.map((one) => ({ ...heard(one), siteName: oneLine(one.siteName) }));
  return { ...heard(status), ...(told && { beyond: told }) };
}

async function forgetOlder(
  deps: MirrorDeps,
  stored: Stored<Header>,
  peerUuid: string,
  { snapId, deltaId, steps }: NonNullable<Ack['synced']>,
): Promise<void> {
  await updateHeader(deps, stored, (header) => unlinked(header, peerUuid, snapId), { byMirroring: true });
  if (deltaId !== undefined) await deleteDelta(deps, stored.value, snapId, deltaId, steps);
}

function unlinked(header: Header, peerUuid: string, snapId: number): Header | undefined {
  const peerSets = unlinkPeer(mirrorSnapshots(header), peerUuid, snapId);
  return peerSets.length === 0 ? undefined : { ...header, snapshots: pruned(withPeerSets(header.snapshots, peerSets)) };
}

const statusSchema: z.ZodType<PeerStatus> = peerStatusSchema;

/** One PUT when this process wrote the last one. A lost race means that another report came a moment ago; the next one will tell. */
async function keepStatus(deps: MirrorDeps, key: string, status: PeerStatus): Promise<void> {
  const known = recall(deps, key) as Stored<PeerStatus> | undefined;
  const replaced =
    known &&
    known.value.updatedAtMs <= status.updatedAtMs &&
    (await replaceDocument(deps.bucket, known, status, deps.random));
  const stored =
    replaced ||
    (await createDocument(deps.bucket, key, status, deps.random)) ||
    (await replaceOlder(deps, key, status));
  if (stored) remember(deps, key, stored);
}

async function replaceOlder(
  deps: MirrorDeps,
  key: string,
  status: PeerStatus,
): Promise<Stored<PeerStatus> | undefined> {
  const stored = await readDocument(deps.bucket, key, statusSchema);
  return stored && stored.value.updatedAtMs <= status.updatedAtMs
    ? replaceDocument(deps.bucket, stored, status, deps.random)
    : stored;
}

/** Of a peer that never reports here, because it does not receive from here: what was seen of its copy. */
export async function noteSeen(
  deps: MirrorDeps,
  pool: string,
  peerUuid: string,
  globalId: string,
  status: Pick<PeerStatus, 'state' | 'description'>,
): Promise<void> {
  const known = await statusFrom(deps, pool, globalId, peerUuid);
  if (known?.state === status.state && known.description === status.description) return;
  const updatedAtMs = deps.clock.nowMs();
  await keepStatus(deps, keyText({ kind: 'status', pool, globalId, peerUuid }), { ...status, updatedAtMs });
}

/** No peer's uuid: where this site notes how its own copy follows a journal, which its header does not tell. */
const ownUuid = 'local';

export async function keepOwnStatus(
  deps: MirrorDeps,
  pool: string,
  globalId: string,
  status: PeerStatus,
): Promise<void> {
  await keepStatus(deps, keyText({ kind: 'status', pool, globalId, peerUuid: ownUuid }), status);
}

export const ownStatus = (deps: MirrorDeps, pool: string, globalId: string): Promise<PeerStatus | undefined> =>
  statusFrom(deps, pool, globalId, ownUuid);

/** What a peer last said about its copy. */
export async function statusFrom(
  deps: MirrorDeps,
  pool: string,
  globalId: string,
  peerUuid: string,
): Promise<PeerStatus | undefined> {
  return (await readDocument(deps.bucket, keyText({ kind: 'status', pool, globalId, peerUuid }), statusSchema))?.value;
}
