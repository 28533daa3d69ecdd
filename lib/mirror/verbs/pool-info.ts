// Owns `mirror pool info`: rbd's JSON about a pool or one of its namespaces.

import { assertPlace } from '../../image/names.ts';
import type { MirrorDeps } from '../deps.ts';
import { mirrorOf, readPool } from '../pool.ts';
import type { Direction, MirrorMode, PeerRecord } from '../pool.ts';

type PeerInfo = {
  uuid: string;
  direction: Direction;
  site_name: string;
  mirror_uuid: string;
  client_name: string;
  key?: string;
  mon_host?: string;
};
export type PoolInfo = {
  mode: MirrorMode | 'disabled';
  site_name?: string;
  mirror_uuid?: string;
  remote_namespace?: string;
  peers?: PeerInfo[];
};

/** `all`: where the peers are, as far as known, and, when `showKeys`, the keys that we show them. */
export type InfoOptions = {
  namespace?: string | undefined;
  all?: boolean | undefined;
  showKeys?: boolean | undefined;
};

/** ENOENT: no such pool, or no such namespace. */
export async function poolInfo(
  deps: MirrorDeps,
  pool: string,
  { namespace = '', all = false, showKeys = false }: InfoOptions = {},
): Promise<PoolInfo> {
  const { value } = await readPool(deps, pool);
  const mirror = mirrorOf(value, namespace);
  if (!mirror) {
    await assertPlace(deps, pool, namespace);
    return { mode: 'disabled' };
  }
  const { mode, mirrorUuid, remoteNamespace } = mirror;
  const remote = remoteNamespace === undefined ? {} : { remote_namespace: remoteNamespace };
  if (namespace !== '' || !value.mirror) return { mode, mirror_uuid: mirrorUuid, ...remote };
  return {
    mode,
    site_name: value.mirror.siteName,
    mirror_uuid: mirrorUuid,
    ...remote,
    peers: await Promise.all(
      value.peers.filter(({ awaited }) => awaited !== true).map((peer) => peerInfo(deps, peer, { all, showKeys })),
    ),
  };
}

async function peerInfo(deps: MirrorDeps, peer: PeerRecord, { all, showKeys }: InfoOptions): Promise<PeerInfo> {
  const { uuid, direction, siteName, mirrorUuid, clientName, sealedKey, url } = peer;
  const info = { uuid, direction, site_name: siteName, mirror_uuid: mirrorUuid, client_name: clientName };
  if (all !== true) return info;
  return {
    ...info,
    ...(showKeys === true && sealedKey !== '' ? { key: await deps.site.unseal(sealedKey) } : {}),
    ...(url === '' ? {} : { mon_host: url }),
  };
}
