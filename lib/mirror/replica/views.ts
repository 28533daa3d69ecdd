// Owns what a sync has before it when it decides: both sides of one image, as the decision sees them.

import type { Stored } from '../../bucket/document.ts';
import { mirrorSnapshots } from '../../image/header.ts';
import type { Header } from '../../image/header.ts';
import type { Catalog } from '../peers/catalog.ts';
import type { Connection } from '../peers/peer-state.ts';
import type { PeerImage } from '../peer-protocol.ts';
import { mirrorOf, namespaceFor } from '../pool.ts';
import { effectivePolicy } from '../roles/keep-policy.ts';
import { promotionState } from '../roles/roles.ts';
import type { LocalView, RemoteView } from '../roles/roles.ts';

export type Both = {
  connection: Connection;
  globalId: string;
  remote: PeerImage;
  stored: Stored<Header> | undefined;
  catalog: Stored<Catalog> | undefined;
};

/** In the namespace that it has, or would have, here. Undefined: there is none for it. */
export function placed(
  { pool }: Connection,
  stored: Stored<Header> | undefined,
  remote: PeerImage | undefined,
): PeerImage | undefined {
  if (remote?.status !== 'present') return remote;
  const namespace = stored?.value.namespace ?? namespaceFor(pool, remote.namespace);
  return namespace === undefined ? undefined : { ...remote, namespace };
}

export function localView({ connection, remote, stored }: Both, nameTaken: boolean): LocalView {
  const namespace = stored?.value.namespace ?? (remote.status === 'present' ? remote.namespace : '');
  const mirrorUuid = mirrorOf(connection.pool, namespace)?.mirrorUuid ?? '';
  const peerUuid = remote.status === 'present' ? remote.peerUuid : '';
  if (!stored) return { mirrorUuid, peerUuid, nameTaken };
  const { state, resyncRequestedAtMs, sync } = stored.value.mirror!;
  const image = {
    state,
    snapshots: mirrorSnapshots(stored.value),
    resyncRequested: resyncRequestedAtMs !== undefined,
    sync,
    policy: effectivePolicy(stored.value, connection.pool),
  };
  return { mirrorUuid, peerUuid, nameTaken, image };
}

export function remoteView({ connection, remote }: Both): RemoteView {
  if (remote.status === 'absent') return { kind: 'absent' };
  if (remote.status === 'removed')
    return { kind: 'removed', mirrorUuid: remote.mirrorUuid ?? connection.record.mirrorUuid };
  const { mirrorUuid, state, snapshots } = remote;
  return { kind: 'present', mirrorUuid, state, snapshots };
}

export const isPrimaryThere = ({ remote }: Both): boolean =>
  remote.status === 'present' && promotionState(remote.snapshots) === 'primary';
