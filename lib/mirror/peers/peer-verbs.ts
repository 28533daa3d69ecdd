// Owns the verbs on single peers: add, set, remove.
//
// In Ceph a peer is the name of a cluster whose address and key lie in files. Here address and key come with an introduction
// (peer.ts), for which a bootstrap key of the other site is needed. So `peer add` makes a full peer when it is told the other
// site's URL and such a key, or when that site has registered here before; otherwise the peer is a mere name, which mirrors
// nothing until `peer set` has given both, or the other site introduces itself under that name.

import { keyText } from '../../bucket/keys.ts';
import { FarsideError } from '../../errors.ts';
import { updateHeader } from '../../image/access.ts';
import { mirrorSnapshots } from '../../image/header.ts';
import { readCatalog } from './catalog.ts';
import type { MirrorDeps } from '../deps.ts';
import { checkReceivers, checkRoom, greet, introduce, takeBack } from './peer.ts';
import {
  directionSchema,
  isKnown,
  isMirroring,
  mayReceive,
  maySend,
  notMirroring,
  readPool,
  updatePool,
} from '../pool.ts';
import type { MirroringPool, PeerRecord, Pool } from '../pool.ts';
import { reachablePeer } from './reachable.ts';
import { forgetPeer, pruned, withPeerSets } from '../roles/retention.ts';
import { siteUrlFault } from '../site-url.ts';

export type AddOptions = {
  siteName: string;
  clientName?: string | undefined;
  direction?: string | undefined;
  /** The other site's URL, and one of its bootstrap keys. */
  url?: string | undefined;
  key?: string | undefined;
  additional?: boolean | undefined;
};

/**
 * `mirror pool peer add`; gives the peer's uuid. EINVAL: not mirrored, a second peer to receive from, this very site, a
 * malformed URL. EEXIST: there is a peer of that name.
 */
export async function addPeer(deps: MirrorDeps, pool: string, options: AddOptions): Promise<string> {
  const { siteName, additional = false } = options;
  const direction = options.direction ?? 'rx-tx';
  if (direction !== 'rx-only' && direction !== 'rx-tx') throw invalidDirection();
  const value = await mirroring(deps, pool);
  checkNew(deps, value, siteName, additional);
  const former = value.peers.find((peer) => peer.siteName === siteName);
  // It has registered to receive from us: it has told us all that we need to receive from it.
  if (former) return (await changePeer(deps, pool, former.uuid, (peer) => shown({ ...peer, direction: 'rx-tx' }))).uuid;
  const named: PeerRecord = {
    uuid: deps.random.uuid(),
    direction,
    siteName,
    clientName: options.clientName ?? 'client.admin',
    ...nobody,
    ...(await contactOf(deps, options)),
  };
  const record = await introduced(deps, pool, value, named, additional);
  try {
    await updatePool(deps, pool, (now) => {
      checkNew(deps, now, siteName, additional);
      if (now.peers.some((peer) => peer.siteName === siteName || (peer.fsid !== '' && peer.fsid === record.fsid)))
        throw exists();
      return { ...now, peers: [...now.peers, record] };
    });
  } catch (error) {
    if (isKnown(record)) await takeBack(deps, pool, record);
    throw error;
  }
  if (isKnown(record)) await greet(deps, pool, record);
  return record.uuid;
}

const nobody = { mirrorUuid: '', fsid: '', url: '', keyHash: '', sealedKey: '' };
const exists = (): FarsideError => new FarsideError('EEXIST', 'mirror peer already exists');
const invalidDirection = (): FarsideError => new FarsideError('EINVAL', 'invalid direction');

function shown({ awaited: _, ...peer }: PeerRecord): PeerRecord {
  return peer;
}

async function mirroring(deps: MirrorDeps, pool: string): Promise<MirroringPool> {
  const { value } = await readPool(deps, pool);
  if (!isMirroring(value)) throw notMirroring();
  return value;
}

/** In rbd's order. */
function checkNew(deps: MirrorDeps, pool: Pool, siteName: string, additional: boolean): void {
  checkReceivers(deps, pool.peers, additional);
  checkRoom(deps, pool.peers);
  if (siteName === pool.mirror?.siteName) throw new FarsideError('EINVAL', 'cannot add self as remote peer');
  if (pool.peers.some((peer) => peer.siteName === siteName && mayReceive(peer))) throw exists();
}

async function contactOf(
  deps: MirrorDeps,
  { url, key }: Pick<AddOptions, 'url' | 'key'>,
): Promise<Pick<PeerRecord, 'url' | 'sealedBootstrapKey'>> {
  return {
    url: url === undefined ? '' : checkUrl(url),
    ...(key === undefined ? {} : { sealedBootstrapKey: await deps.site.seal(checkKey(key)) }),
  };
}

function checkUrl(url: string): string {
  if (siteUrlFault(url) === undefined) return url;
  throw new FarsideError(
    'EINVAL',
    `invalid mon-host '${url}': give the URL of the peer site: https, or http on this machine`,
  );
}

function checkKey(text: string): string {
  const key = text.trim();
  if (key !== '' && key.length <= 256) return key;
  throw new FarsideError('EINVAL', "invalid key: give the 'key' of a bootstrap token of the peer site");
}

/** The record, introduced to the other site if its address and a bootstrap key are known. */
async function introduced(
  deps: MirrorDeps,
  pool: string,
  { mirror }: MirroringPool,
  record: PeerRecord,
  additional: boolean,
): Promise<PeerRecord> {
  const { sealedBootstrapKey, ...known } = record;
  if (record.url === '' || sealedBootstrapKey === undefined) return record;
  const bootstrapKey = await deps.site.unseal(sealedBootstrapKey);
  const { mirrorUuid, siteName } = mirror;
  const { contact } = await introduce(deps, pool, {
    url: record.url,
    bootstrapKey,
    mirrorUuid,
    siteName,
    direction: 'rx-only',
    oneSided: true,
    additional,
  });
  return { ...known, ...contact };
}

/** rbd's keys, in rbd's order. */
export const peerKeys = ['client', 'cluster', 'direction', 'key-file', 'mon-host', 'site-name'] as const;
export type PeerKey = (typeof peerKeys)[number];

/** `mirror pool peer set`; for `key-file` the value is what the file holds. ENOENT: no such peer. EINVAL: key or value. */
export async function setPeer(deps: MirrorDeps, pool: string, uuid: string, key: string, value: string): Promise<void> {
  checkUuid(uuid);
  const known = peerKeys.find((one) => one === key);
  if (!known) throw new FarsideError('EINVAL', `must specify ${peerKeys.map((one) => `'${one}'`).join(', ')} key.`);
  if (value === '') throw new FarsideError('EINVAL', `must specify new ${known} value.`);
  await setters[known](deps, pool, uuid, value);
}

type Setter = (deps: MirrorDeps, pool: string, uuid: string, value: string) => Promise<void>;

const setSiteName: Setter = async (deps, pool, uuid, siteName) => {
  await changePeer(deps, pool, uuid, (peer, value) => {
    const isTaken =
      value.mirror?.siteName === siteName || value.peers.some((one) => one.uuid !== uuid && one.siteName === siteName);
    if (isTaken) throw new FarsideError('EEXIST', `site name '${siteName}' is in use`);
    return { ...peer, siteName };
  });
};

const setters: Record<PeerKey, Setter> = {
  client: async (deps, pool, uuid, clientName) => {
    await changePeer(deps, pool, uuid, (peer) => ({ ...peer, clientName }));
  },
  cluster: setSiteName,
  'site-name': setSiteName,
  direction: setDirection,
  'mon-host': async (deps, pool, uuid, value) => {
    const url = checkUrl(value);
    await meet(deps, pool, uuid, (peer) => ({ ...peer, url }));
  },
  'key-file': async (deps, pool, uuid, value) => {
    const sealedBootstrapKey = await deps.site.seal(checkKey(value));
    await meet(deps, pool, uuid, (peer) => ({ ...peer, sealedBootstrapKey }));
  },
};

async function setDirection(deps: MirrorDeps, pool: string, uuid: string, text: string): Promise<void> {
  const parsed = directionSchema.safeParse(text);
  if (!parsed.success) throw invalidDirection();
  const direction = parsed.data;
  const record = await changePeer(deps, pool, uuid, (peer, value) => {
    const others = value.peers.filter((one) => one.uuid !== uuid);
    if (mayReceive({ direction }) && !mayReceive(peer)) checkReceivers(deps, others, false);
    return shown({ ...peer, direction });
  });
  if (!maySend(record)) await forgetInImages(deps, pool, uuid);
  if (mayReceive(record) && isKnown(record)) await greet(deps, pool, record);
}

/** A new address of a peer that knows us is just noted; with a new bootstrap key we introduce ourselves, and then note both. */
async function meet(
  deps: MirrorDeps,
  pool: string,
  uuid: string,
  change: (peer: PeerRecord) => PeerRecord,
): Promise<void> {
  const value = await mirroring(deps, pool);
  const former = value.peers.find((peer) => peer.uuid === uuid);
  if (!former) throw noPeer(uuid);
  const record = await introduced(deps, pool, value, change(former), true);
  await changePeer(deps, pool, uuid, (peer) => {
    const { sealedBootstrapKey: _, ...rest } = { ...peer, ...record };
    return isKnown(record) ? rest : record;
  });
  if (mayReceive(record) && isKnown(record)) await greet(deps, pool, record);
}

const noPeer = (uuid: string): FarsideError => new FarsideError('ENOENT', `mirror peer ${uuid} does not exist`);

async function changePeer(
  deps: MirrorDeps,
  pool: string,
  uuid: string,
  change: (peer: PeerRecord, pool: Pool) => PeerRecord,
): Promise<PeerRecord> {
  const { peers } = await updatePool(deps, pool, (value) => {
    if (!isMirroring(value)) throw notMirroring();
    const found = value.peers.find((peer) => peer.uuid === uuid);
    if (!found) throw noPeer(uuid);
    const changed = change(found, value);
    return { ...value, peers: value.peers.map((peer) => (peer.uuid === uuid ? changed : peer)) };
  });
  return peers.find((peer) => peer.uuid === uuid)!;
}

const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

function checkUuid(uuid: string): void {
  if (!uuidPattern.test(uuid)) throw new FarsideError('EINVAL', 'invalid uuid');
}

/**
 * `mirror pool peer remove`. A missing peer is fine. The pool goes first, so that no new snapshot lists the peer; then every
 * mirror snapshot of the pool's images forgets it. Repeating continues a removal that died. `tell`: a peer that knew us only
 * because we received from it forgets us too, if it can be reached.
 */
export async function removePeer(
  deps: MirrorDeps,
  pool: string,
  uuid: string,
  { tell = true }: { tell?: boolean } = {},
): Promise<void> {
  checkUuid(uuid);
  let removed: PeerRecord | undefined;
  await updatePool(deps, pool, (value) => {
    removed = value.peers.find((peer) => peer.uuid === uuid);
    return removed && { ...value, peers: value.peers.filter((peer) => peer.uuid !== uuid) };
  });
  await deps.bucket.delete([keyText({ kind: 'peer', pool, peerUuid: uuid })]);
  await forgetInImages(deps, pool, uuid);
  const known = removed;
  if (tell && known && isKnown(known))
    await reachablePeer(deps, async () => (await deps.peers(pool, known)).unregister('tx-only'));
}

/** In every namespace. */
async function forgetInImages(deps: MirrorDeps, pool: string, uuid: string): Promise<void> {
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
