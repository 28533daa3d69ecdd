// Owns how one image's mirroring is reported: rbd's `mirror image status` JSON (reference §1.1). Pure. Plain text is made from the
// JSON by the CLI; states and descriptions are in copy-status.ts.
//
// Every site writes a status about its own copy (`StoredStatus`) and sends it to its peers. `up` means a fresh heartbeat of
// the site that wrote it, so a dead site shows as `down+<its last state>` within `heartbeatFreshMs`.

import type { MirrorNamespace, MirrorSnapshot } from '../../image/header.ts';
import type { StoredStatus } from '../copy-status.ts';
import { inOrder, isOwn } from '../roles/history.ts';

/** One missed minute tick and a half: Ceph's daemons beat every 10 to 30 s, a site on cron beats once a minute. */
export const heartbeatFreshMsDefault = 90_000;

export type PeerDirection = 'rx-only' | 'tx-only' | 'rx-tx';

/** `heartbeatAgeMs`: since the site was last heard of; undefined: never. */
export type SiteView = { status?: StoredStatus | undefined; heartbeatAgeMs?: number | undefined };
export type PeerSite = SiteView & { siteName: string; mirrorUuid: string; direction: PeerDirection };
export type SiteService = { serviceId: string; instanceId: string; daemonId: string; hostname: string };

export type ImageStatusInput = {
  name: string;
  globalId: string;
  local: SiteView & { service: SiteService };
  peers: readonly PeerSite[];
  /** In a chain, sites that a peer has told of; they are shown, and count for nothing. */
  beyond?: readonly (PeerSite & { via: string })[] | undefined;
  /** The mirror snapshots, when the image is primary in snapshot mode. */
  snapshots?: readonly MirrorSnapshot[] | undefined;
  heartbeatFreshMs?: number | undefined;
  /** IANA name; the system's when absent. Tests pin it. */
  timeZone?: string | undefined;
};

export type ImageStatusReport = {
  name: string;
  global_id: string;
  state?: string;
  description?: string;
  daemon_service?: { service_id: string; instance_id: string; daemon_id: string; hostname: string };
  last_update?: string;
  peer_sites?: PeerSiteReport[];
  snapshots?: SnapshotReport[];
};

/** `quiesce_error`: farside's; why the writer's hook was no help to a scheduled one, which is what a crash would leave. */
type SnapshotReport = {
  id: number;
  name: string;
  demoted: boolean;
  mirror_peer_uuids: string[];
  quiesce_error?: string;
};

/** `via`: the peer that told of it; of peers themselves there is none. */
type PeerSiteReport = {
  site_name: string;
  mirror_uuids: string;
  state: string;
  description: string;
  last_update: string;
  via?: string;
};

/** rbd's JSON, in rbd's order of keys. */
export function imageStatusReport(input: ImageStatusInput): ImageStatusReport {
  const peerSites = input.peers
    .filter((peer) => peer.status || sendsTo(peer))
    .map((peer) => peerSiteReport(peer, input))
    .concat((input.beyond ?? []).map((site) => ({ ...peerSiteReport(site, input), via: site.via })));
  return {
    name: input.name,
    global_id: input.globalId,
    ...(receivesLocally(input.peers) ? localReport(input) : {}),
    ...(peerSites.length > 0 ? { peer_sites: peerSites } : {}),
    ...(input.snapshots ? { snapshots: snapshotReports(input.snapshots) } : {}),
  };
}

/** The local status says something unless the pool only sends. */
export const receivesLocally = (peers: readonly Pick<PeerSite, 'direction'>[]): boolean =>
  peers.length === 0 || peers.some((peer) => peer.direction !== 'tx-only');

export const sendsTo = (peer: Pick<PeerSite, 'direction'>): boolean => peer.direction !== 'rx-only';

export const isUp = (site: SiteView, freshMs: number = heartbeatFreshMsDefault): boolean =>
  site.status !== undefined && site.heartbeatAgeMs !== undefined && site.heartbeatAgeMs <= freshMs;

const statusNotFound = { state: 'down+unknown', description: 'status not found', last_update: '' };

function siteReport(site: SiteView, input: ImageStatusInput): typeof statusNotFound {
  if (!site.status) return statusNotFound;
  const { state, description, updatedAtMs } = site.status;
  const up = isUp(site, input.heartbeatFreshMs) ? 'up' : 'down';
  return { state: `${up}+${state}`, description, last_update: timestampText(updatedAtMs, input.timeZone) };
}

function localReport(input: ImageStatusInput): Partial<ImageStatusReport> {
  const { serviceId, instanceId, daemonId, hostname } = input.local.service;
  const { state, description, last_update } = siteReport(input.local, input);
  const service = { service_id: serviceId, instance_id: instanceId, daemon_id: daemonId, hostname };
  return {
    state,
    description,
    ...(isUp(input.local, input.heartbeatFreshMs) ? { daemon_service: service } : {}),
    last_update,
  };
}

const peerSiteReport = (peer: PeerSite, input: ImageStatusInput): PeerSiteReport => ({
  site_name: peer.siteName,
  mirror_uuids: peer.mirrorUuid,
  ...siteReport(peer, input),
});

const snapshotReports = (snapshots: readonly MirrorSnapshot[]): SnapshotReport[] =>
  inOrder(snapshots)
    .filter(isOwn)
    .map(({ id, name, namespace }) => ({
      id,
      name,
      demoted: namespace.state === 'primary-demoted',
      mirror_peer_uuids: namespace.mirrorPeerUuids,
      ...quiesceError(namespace),
    }));

export const quiesceError = ({ quiesceFailure }: MirrorNamespace): { quiesce_error?: string } =>
  quiesceFailure ? { quiesce_error: `${quiesceFailure.code}: ${quiesceFailure.message}` } : {};

/** `YYYY-MM-DD HH:MM:SS`, without naming the zone. */
export function timestampText(timeMs: number, timeZone?: string): string {
  const zone = timeZone === undefined ? {} : { timeZone };
  return new Intl.DateTimeFormat('sv-SE', { dateStyle: 'short', timeStyle: 'medium', ...zone }).format(timeMs);
}
