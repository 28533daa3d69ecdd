// Owns how two pools become peers: bootstrap tokens, registration on both sides, removal. A token only lets its bearer
// register; the keys that the two sites use from then on are made during registration, one for each direction.
//
// An import is: check the token and the local pool, register at the other side, then one compare-and-swap of the local pool
// (mode, identity, peer). Before that nothing is stored here, and what fails after the registration takes it back. If even
// that is lost, the other side keeps a record of us, which the next import from here replaces.

import { keyText } from '../bucket/keys.ts';
import { FarsideError } from '../errors.ts';
import { mirrorSnapshots } from '../image/header.ts';
import { updateHeader } from '../image/access.ts';
import { readCatalog } from './catalog.ts';
import type { MirrorDeps } from './deps.ts';
import type { RegisterAnswer, RegisterRequest } from './peer-protocol.ts';
import { isMirroring, notMirroring, readPool, receives, recentPool, updatePool } from './pool.ts';
import type { Direction, MirrorMode, PeerRecord, Pool } from './pool.ts';
import { forgetPeer, pruned, withPeerSets } from './retention.ts';
import { hashKey, matchesHash, newPeerKey } from './secrets.ts';
import { badToken, decodeToken, encodeToken } from './token.ts';

const clientName = 'client.rbd-mirror-peer';

type SiteNameOption = { siteName?: string | undefined };

/** `mirror pool peer bootstrap create`. Every call makes a new key; the newest `bootstrapKeysMax` stay valid. */
export async function createBootstrapToken(
  deps: MirrorDeps,
  pool: string,
  options: SiteNameOption = {},
): Promise<string> {
  const key = newPeerKey(deps.random);
  const entry = { hash: hashKey(key), createdAtMs: deps.clock.nowMs() };
  await updatePool(deps, pool, (value) => {
    if (!isMirroring(value)) throw notMirroring();
    const mirror = { ...value.mirror, siteName: options.siteName ?? value.mirror.siteName };
    return { ...value, mirror, bootstrap: [...value.bootstrap, entry].slice(-deps.limits.bootstrapKeysMax) };
  });
  return encodeToken({ fsid: deps.site.siteId, key, mon_host: deps.site.url });
}

export type ImportOptions = SiteNameOption & { direction?: string | undefined };

/**
 * `mirror pool peer bootstrap import`; gives the new peer's uuid. EINVAL: the token, the direction, a second receiving peer,
 * an equal site name. EEXIST: registered already. ENOENT, ENOSYS: the other side has no such pool, or does not mirror it.
 */
export async function importBootstrapToken(
  deps: MirrorDeps,
  pool: string,
  token: string,
  options: ImportOptions = {},
): Promise<string> {
  const direction = checkDirection(options.direction ?? 'rx-tx');
  const { fsid, key: bootstrapKey, mon_host: url } = decodeToken(token);
  if (fsid === deps.site.siteId) throw badToken('cannot import token for local cluster');
  const { value } = await readPool(deps, pool);
  checkNewPeer(deps, value, { fsid, direction });
  const key = newPeerKey(deps.random);
  const mirrorUuid = value.mirror?.mirrorUuid ?? deps.random.uuid();
  const siteName = options.siteName ?? value.mirror?.siteName ?? deps.site.name;
  const remote = await deps.peers(pool, { url, sealedKey: await deps.site.seal(bootstrapKey) });
  const answer = await remote.register({
    fsid: deps.site.siteId,
    siteName,
    mirrorUuid,
    url: deps.site.url,
    direction,
    key,
  });
  const record: PeerRecord = {
    uuid: deps.random.uuid(),
    direction,
    siteName: answer.siteName,
    mirrorUuid: answer.mirrorUuid,
    clientName,
    fsid,
    url,
    keyHash: hashKey(key),
    sealedKey: await deps.site.seal(answer.key),
  };
  try {
    await adopt(deps, pool, record, { answer, mirrorUuid, siteName });
  } catch (error) {
    await takeBack(deps, pool, record);
    throw error;
  }
  await greet(deps, pool, record);
  return record.uuid;
}

function checkDirection(direction: string): 'rx-only' | 'rx-tx' {
  if (direction === 'rx-only' || direction === 'rx-tx') return direction;
  throw new FarsideError('EINVAL', "the argument for option '--direction' is invalid: use rx-only or rx-tx");
}

function checkNewPeer(
  deps: MirrorDeps,
  pool: Pool,
  peer: { fsid: string; direction: Direction; siteName?: string },
): void {
  if (pool.peers.some((known) => known.fsid === peer.fsid))
    throw new FarsideError('EEXIST', 'mirror peer already exists');
  checkSiteName(pool, peer.siteName);
  checkRoom(deps, pool.peers);
  if (peer.direction !== 'tx-only') checkReceivers(deps, pool.peers);
}

function checkSiteName(pool: Pool, siteName: string | undefined): void {
  const taken =
    siteName !== undefined &&
    (pool.mirror?.siteName === siteName || pool.peers.some((known) => known.siteName === siteName));
  if (taken) throw badToken(`cannot import token for duplicate site name: both sites are called '${siteName}'`);
}

/** A bootstrap token may be used again and again; pool.json must stay small. */
function checkRoom(deps: MirrorDeps, others: readonly PeerRecord[]): void {
  if (others.length < deps.limits.peersMax) return;
  throw new FarsideError('ENOSPC', `the pool has ${deps.limits.peersMax} peers already: remove some`);
}

function checkReceivers(deps: MirrorDeps, others: readonly PeerRecord[]): void {
  if (others.filter(receives).length < deps.limits.rxPeersMax) return;
  throw new FarsideError('EINVAL', 'multiple RX peers are not currently supported');
}

type Adoption = { answer: RegisterAnswer; mirrorUuid: string; siteName: string };

/** The one change here. */
async function adopt(
  deps: MirrorDeps,
  pool: string,
  record: PeerRecord,
  { answer, mirrorUuid, siteName }: Adoption,
): Promise<void> {
  if (answer.fsid !== record.fsid) throw badToken('unexpected remote cluster fsid');
  if (answer.siteName === siteName)
    throw badToken(`cannot import token for duplicate site name: both sites are called '${siteName}'`);
  await updatePool(deps, pool, (value) => {
    checkNewPeer(deps, value, record);
    if (value.mirror && value.mirror.mirrorUuid !== mirrorUuid) throw changedMeanwhile(pool);
    const mode: MirrorMode = value.mirror?.mode ?? answer.mode;
    return { ...value, mirror: { mode, mirrorUuid, siteName }, peers: [...value.peers, record] };
  });
}

const changedMeanwhile = (pool: string): FarsideError =>
  new FarsideError('EAGAIN', `mirroring of pool ${pool} was enabled by another at the same time; try again`, {
    retry: 'now',
  });

async function takeBack(deps: MirrorDeps, pool: string, record: PeerRecord): Promise<void> {
  try {
    await (await deps.peers(pool, record)).unregister();
  } catch {
    // Unreachable now: the record left there gives no more than the token did, and the next import replaces it.
  }
}

/** The other side of an import: `request` came with a valid bootstrap key. A site that registers again replaces itself. */
export async function registerPeer(deps: MirrorDeps, pool: string, request: RegisterRequest): Promise<RegisterAnswer> {
  const key = newPeerKey(deps.random);
  const record: PeerRecord = {
    uuid: deps.random.uuid(),
    direction: request.direction === 'rx-only' ? 'tx-only' : 'rx-tx',
    siteName: request.siteName,
    mirrorUuid: request.mirrorUuid,
    clientName,
    fsid: request.fsid,
    url: request.url,
    keyHash: hashKey(key),
    sealedKey: await deps.site.seal(request.key),
  };
  if (request.fsid === deps.site.siteId) throw badToken('cannot import token for local cluster');
  const value = await updatePool(deps, pool, (now) => withRegistered(deps, now, record));
  const mirror = value.mirror!;
  const uuid = value.peers.find((peer) => peer.fsid === request.fsid)!.uuid;
  if (receives(record))
    await deps.queue.send([{ type: 'poll', pool, peerUuid: uuid }], { delayMs: deps.limits.completeDelayMs });
  return {
    fsid: deps.site.siteId,
    siteName: mirror.siteName,
    mirrorUuid: mirror.mirrorUuid,
    mode: mirror.mode,
    peerUuid: uuid,
    key,
  };
}

/** A record that is replaced keeps its uuid, which snapshots may list. */
function withRegistered(deps: MirrorDeps, pool: Pool, record: PeerRecord): Pool {
  if (!isMirroring(pool)) throw new FarsideError('ENOSYS', 'mirroring is not enabled on remote peer');
  const others = pool.peers.filter((peer) => peer.fsid !== record.fsid);
  const former = pool.peers.find((peer) => peer.fsid === record.fsid);
  checkSiteName({ ...pool, peers: others }, record.siteName);
  checkRoom(deps, others);
  if (receives(record)) checkReceivers(deps, others);
  return { ...pool, peers: [...others, { ...record, uuid: former?.uuid ?? record.uuid }] };
}

/** Both sides begin to look at each other at once. */
async function greet(deps: MirrorDeps, pool: string, record: PeerRecord): Promise<void> {
  await deps.queue.send([{ type: 'poll', pool, peerUuid: record.uuid }]);
}

export type Caller = { kind: 'peer'; peer: PeerRecord } | { kind: 'bootstrap' };

/** Who shows this key to a pool; undefined: nobody we know. Believes a pool document that is a few seconds old. */
export async function authenticatePeer(deps: MirrorDeps, pool: string, key: string): Promise<Caller | undefined> {
  const value = await recentPool(deps, pool);
  const known = callerOf(value, key);
  // A key that was made a moment ago by another process.
  return known ?? callerOf((await readPool(deps, pool)).value, key);
}

function callerOf(pool: Pool, key: string): Caller | undefined {
  const peer = pool.peers.find((candidate) => matchesHash(key, candidate.keyHash));
  if (peer) return { kind: 'peer', peer };
  return pool.bootstrap.some(({ hash }) => matchesHash(key, hash)) ? { kind: 'bootstrap' } : undefined;
}

const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/**
 * `mirror pool peer remove`. A missing peer is fine. The pool goes first, so that no new snapshot lists the peer; then every
 * mirror snapshot of the pool's images forgets it. Repeating continues a removal that died.
 */
export async function removePeer(deps: MirrorDeps, pool: string, uuid: string): Promise<void> {
  if (!uuidPattern.test(uuid)) throw new FarsideError('EINVAL', 'invalid uuid');
  let removed: PeerRecord | undefined;
  await updatePool(deps, pool, (value) => {
    removed = value.peers.find((peer) => peer.uuid === uuid);
    return removed && { ...value, peers: value.peers.filter((peer) => peer !== removed) };
  });
  // The other side has a tx-only peer for the one reason that we registered to receive.
  if (removed?.direction === 'rx-only') await takeBack(deps, pool, removed);
  await deps.bucket.delete([keyText({ kind: 'peer', pool, peerUuid: uuid })]);
  for (const { imageId } of Object.values(await readCatalog(deps, pool))) await forgetInImage(deps, imageId, uuid);
}

async function forgetInImage(deps: MirrorDeps, imageId: string, uuid: string): Promise<void> {
  try {
    await updateHeader(
      deps,
      imageId,
      (header) => {
        const peerSets = forgetPeer(mirrorSnapshots(header), uuid);
        return peerSets.length === 0
          ? undefined
          : { ...header, snapshots: pruned(withPeerSets(header.snapshots, peerSets)) };
      },
      { byMirroring: true },
    );
  } catch (error) {
    if (!(error instanceof FarsideError) || error.code !== 'ENOENT') throw error;
  }
}
