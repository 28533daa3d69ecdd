// Owns how two pools become peers: bootstrap tokens, registration on both sides, and who calls. A token only lets its bearer
// register; the keys that the two sites use from then on are made during registration, one for each direction.
//
// An import is: check the token and the local pool, register at the other side, then one compare-and-swap of the local pool
// (mode, identity, peer). Before that nothing is stored here, and what fails after the registration takes it back. If even
// that is lost, the other side keeps a record of us, which the next import from here replaces.
//
// A pool receives from one peer, as in rbd. More are allowed where the operator asks for `additional` ones: that is safe, since an
// image moves only to points that descend from its own, whoever offers them (roles.ts), but it has to be wanted.

import { FarsideError } from '../../errors.ts';
import type { MirrorDeps } from '../deps.ts';
import type { RegisterAnswer, RegisterRequest } from '../peer-protocol.ts';
import { isMirroring, mayReceive, notMirroring, readPool, receives, recentPool, updatePool } from '../pool.ts';
import type { MirrorMode, PeerRecord, Pool } from '../pool.ts';
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

export type ImportOptions = SiteNameOption & {
  direction?: string | undefined;
  /** One more peer to receive from, at either side. */
  additional?: boolean | undefined;
};

/**
 * `mirror pool peer bootstrap import`; gives the new peer's uuid. A peer that we only sent to so far becomes one that we receive
 * from too. EINVAL: the token, the direction, a second peer to receive from, an equal site name. ENOENT, ENOSYS: the other side
 * has no such pool, or does not mirror it.
 */
export async function importBootstrapToken(
  deps: MirrorDeps,
  pool: string,
  token: string,
  { additional = false, ...options }: ImportOptions = {},
): Promise<string> {
  const wanted = checkDirection(options.direction ?? 'rx-tx');
  const { fsid, key: bootstrapKey, mon_host: url } = decodeToken(token);
  if (fsid === deps.site.siteId) throw badToken('cannot import token for local cluster');
  const { value } = await readPool(deps, pool);
  const former = value.peers.find((peer) => peer.fsid === fsid);
  checkReceivers(deps, value.peers, additional, severalPeers());
  const direction = former ? 'rx-tx' : wanted;
  const mirror = {
    mirrorUuid: value.mirror?.mirrorUuid ?? deps.random.uuid(),
    siteName: options.siteName ?? value.mirror?.siteName ?? deps.site.name,
  };
  const introduced = await introduce(deps, pool, { url, bootstrapKey, ...mirror, direction, additional });
  const { answer } = introduced;
  const record: PeerRecord = {
    uuid: former?.uuid ?? deps.random.uuid(),
    direction,
    siteName: answer.siteName,
    clientName,
    ...introduced.contact,
  };
  try {
    if (answer.fsid !== fsid) throw badToken('unexpected remote cluster fsid');
    if (answer.siteName === mirror.siteName) throw duplicateSiteName(mirror.siteName);
    await adopt(deps, pool, record, { ...mirror, mode: answer.mode, additional });
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

const duplicateSiteName = (siteName: string): FarsideError =>
  badToken(`cannot import token for duplicate site name: both sites are called '${siteName}'`);

/** A bootstrap token may be used again and again; pool.json must stay small. */
export function checkRoom(deps: MirrorDeps, others: readonly PeerRecord[]): void {
  if (others.length < deps.limits.peersMax) return;
  throw new FarsideError('ENOSPC', `the pool has ${deps.limits.peersMax} peers already: remove some`);
}

/** Rbd's rule, and the one for additional peers. `others`: those that stay. */
export function checkReceivers(
  deps: MirrorDeps,
  others: readonly PeerRecord[],
  additional: boolean,
  refusal = new FarsideError('EINVAL', 'multiple RX peers are not currently supported'),
): void {
  const most = additional ? deps.limits.rxPeersAdditionalMax : deps.limits.rxPeersMax;
  if (others.filter(mayReceive).length >= most) throw refusal;
}

/** In the words of an import. */
const severalPeers = (): FarsideError => badToken('multiple peers are not currently supported');

export type Introduction = {
  url: string;
  bootstrapKey: string;
  mirrorUuid: string;
  siteName: string;
  direction: 'rx-only' | 'rx-tx';
  oneSided?: boolean;
  additional: boolean;
};

/** What a record knows once the other side knows us. */
type Contact = Pick<PeerRecord, 'fsid' | 'url' | 'mirrorUuid' | 'keyHash' | 'sealedKey'>;

/** Registers this pool at the other site by one of its bootstrap keys. Stores nothing here. */
export async function introduce(
  deps: MirrorDeps,
  pool: string,
  { url, bootstrapKey, ...request }: Introduction,
): Promise<{ answer: RegisterAnswer; contact: Contact }> {
  const key = newPeerKey(deps.random);
  const remote = await deps.peers(pool, { url, sealedKey: await deps.site.seal(bootstrapKey) });
  const answer = await remote.register({ ...request, fsid: deps.site.siteId, url: deps.site.url, key });
  const { fsid, mirrorUuid } = answer;
  const sealedKey = await deps.site.seal(answer.key);
  return { answer, contact: { fsid, url, mirrorUuid, keyHash: hashKey(key), sealedKey } };
}

type Adoption = { mirrorUuid: string; siteName: string; mode: MirrorMode; additional: boolean };

/** The one change here. */
async function adopt(
  deps: MirrorDeps,
  pool: string,
  record: PeerRecord,
  { mirrorUuid, siteName, mode, additional }: Adoption,
): Promise<void> {
  await updatePool(deps, pool, (value) => {
    const others = value.peers.filter((peer) => peer.uuid !== record.uuid);
    if (others.some((peer) => peer.fsid === record.fsid))
      throw new FarsideError('EEXIST', 'mirror peer already exists');
    checkReceivers(deps, value.peers, additional, severalPeers());
    checkRoom(deps, others);
    if (others.some((peer) => peer.siteName === record.siteName)) throw duplicateSiteName(record.siteName);
    if (value.mirror && value.mirror.mirrorUuid !== mirrorUuid) throw changedMeanwhile(pool);
    return { ...value, mirror: { mode, ...value.mirror, mirrorUuid, siteName }, peers: [...others, record] };
  });
}

const changedMeanwhile = (pool: string): FarsideError =>
  new FarsideError('EAGAIN', `mirroring of pool ${pool} was enabled by another at the same time; try again`, {
    retry: 'now',
  });

export async function takeBack(deps: MirrorDeps, pool: string, record: PeerRecord): Promise<void> {
  try {
    await (await deps.peers(pool, record)).unregister();
  } catch {
    // Unreachable now: the record left there gives no more than the token did, and the next import replaces it.
  }
}

/** The other side of an introduction: `request` came with a valid bootstrap key. A site that registers again replaces itself. */
export async function registerPeer(deps: MirrorDeps, pool: string, request: RegisterRequest): Promise<RegisterAnswer> {
  const key = newPeerKey(deps.random);
  const { fsid, siteName, mirrorUuid, url } = request;
  if (fsid === deps.site.siteId) throw badToken('cannot import token for local cluster');
  const record: PeerRecord = {
    uuid: deps.random.uuid(),
    direction: request.direction === 'rx-only' ? 'tx-only' : 'rx-tx',
    siteName,
    mirrorUuid,
    clientName,
    fsid,
    url,
    keyHash: hashKey(key),
    sealedKey: await deps.site.seal(request.key),
    ...(request.direction === 'rx-only' ? { awaited: true } : {}),
  };
  const value = await updatePool(deps, pool, (now) => withRegistered(deps, now, record, request));
  const { uuid, ...registered } = value.peers.find((peer) => peer.fsid === fsid)!;
  if (receives({ uuid, ...registered }))
    await deps.queue.send([{ type: 'poll', pool, peerUuid: uuid }], { delayMs: deps.limits.completeDelayMs });
  const mirror = value.mirror!;
  return {
    fsid: deps.site.siteId,
    siteName: mirror.siteName,
    mirrorUuid: mirror.mirrorUuid,
    mode: mirror.mode,
    peerUuid: uuid,
    key,
  };
}

/** A record that is replaced keeps its uuid, which snapshots may list. One that was a mere name is found by that name. */
function withRegistered(
  deps: MirrorDeps,
  pool: Pool,
  record: PeerRecord,
  { oneSided = false, additional = false }: Pick<RegisterRequest, 'oneSided' | 'additional'>,
): Pool {
  if (!isMirroring(pool)) throw new FarsideError('ENOSYS', 'mirroring is not enabled on remote peer');
  const former =
    pool.peers.find((peer) => peer.fsid === record.fsid) ??
    pool.peers.find((peer) => peer.fsid === '' && peer.siteName === record.siteName);
  const others = pool.peers.filter((peer) => peer !== former);
  const isTaken = pool.mirror.siteName === record.siteName || others.some((peer) => peer.siteName === record.siteName);
  if (isTaken) throw duplicateSiteName(record.siteName);
  checkRoom(deps, others);
  const keepsReceiving = former !== undefined && mayReceive(former) && oneSided;
  const { awaited: _, ...shown } = record;
  const merged: PeerRecord = keepsReceiving
    ? { ...shown, direction: 'rx-tx' }
    : former && former.awaited !== true
      ? shown
      : record;
  if (mayReceive(merged) && !keepsReceiving) checkReceivers(deps, others, additional);
  return { ...pool, peers: [...others, { ...merged, uuid: former?.uuid ?? record.uuid }] };
}

/** Both sides begin to look at each other. One that only receives waits a moment before the other learns of it. */
export async function greet(deps: MirrorDeps, pool: string, { uuid, direction }: PeerRecord): Promise<void> {
  const delayMs = direction === 'rx-only' ? deps.limits.firstContactMs : 0;
  await deps.queue.send([{ type: 'poll', pool, peerUuid: uuid }], { delayMs });
}

/** The first call of a peer that has registered to receive: from now on it is shown, and snapshots are taken for it. */
export async function noteContact(deps: MirrorDeps, pool: string, uuid: string): Promise<void> {
  await updatePool(deps, pool, (value) => {
    if (!value.peers.some((peer) => peer.uuid === uuid && peer.awaited === true)) return undefined;
    const seen = ({ awaited: _, ...peer }: PeerRecord): PeerRecord => peer;
    return { ...value, peers: value.peers.map((peer) => (peer.uuid === uuid ? seen(peer) : peer)) };
  });
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
