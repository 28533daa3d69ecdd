// Owns how one image's mirroring is reported: rbd's `mirror image status` JSON and the description that ceph-csi, Rook and
// exporters parse (reference §1.1, §2.7, §2.8). Pure. Plain text is made from the JSON by the CLI.
//
// Every site writes a status about its own copy (`StoredStatus`) and sends it to its peers. `up` means a fresh heartbeat of
// the site that wrote it, so a dead site shows as `down+<its last state>` within `heartbeatFreshMs`.

import type { Header, JournalPosition, Mirror, MirrorSnapshot } from '../../image/header.ts';
import { inOrder, isOwn } from '../roles/history.ts';
import { stopStatus } from '../roles/roles.ts';
import type { Decision } from '../roles/roles.ts';

/** In Ceph's numeric order, by which a pool's summary takes the smaller. */
export const imageStatusStates = [
  'unknown',
  'error',
  'syncing',
  'starting_replay',
  'replaying',
  'stopping_replay',
  'stopped',
] as const;
export type ImageStatusState = (typeof imageStatusStates)[number];

/** What a site says about its own copy of an image. */
export type StoredStatus = { state: ImageStatusState; description: string; updatedAtMs: number };

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
  snapshots?: { id: number; name: string; demoted: boolean; mirror_peer_uuids: string[] }[];
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

const snapshotReports = (snapshots: readonly MirrorSnapshot[]): NonNullable<ImageStatusReport['snapshots']> =>
  inOrder(snapshots)
    .filter(isOwn)
    .map(({ id, name, namespace }) => ({
      id,
      name,
      demoted: namespace.state === 'primary-demoted',
      mirror_peer_uuids: namespace.mirrorPeerUuids,
    }));

/** `YYYY-MM-DD HH:MM:SS`, without naming the zone. */
export function timestampText(timeMs: number, timeZone?: string): string {
  const zone = timeZone === undefined ? {} : { timeZone };
  return new Intl.DateTimeFormat('sv-SE', { dateStyle: 'short', timeStyle: 'medium', ...zone }).format(timeMs);
}

/**
 * How a replica stands. Times are of the primary's snapshots, ms since the epoch: the newest one there, and the one that
 * the replica has. Undefined: none yet. `bytesTotal` of a running sync is what its manifests name so far.
 */
export type ReplayProgress = {
  remoteSnapshotMs?: number | undefined;
  lastSync?: Mirror['lastSync'] | undefined;
  syncing?: { snapshotMs: number; bytesDone: number; bytesTotal: number; elapsedMs: number } | undefined;
  /** In journal mode. */
  journal?: JournalProgress | undefined;
};

/** Where a replica is in the journal, and the primary as far as is known. */
export type JournalProgress = {
  position: JournalPosition | undefined;
  primary: JournalPosition | undefined;
  bytesPerSecond: number;
  entriesPerSecond: number;
};

/** Of a replica that has what its header says and no more; undefined in snapshot mode. */
export function journalOf({ mirror, journal }: Pick<Header, 'mirror' | 'journal'>): JournalProgress | undefined {
  if (mirror?.mode !== 'journal') return undefined;
  const position = journal?.folded;
  return { position, primary: position, bytesPerSecond: 0, entriesPerSecond: 0 };
}

/** Requests between two positions; across epochs it is not known how many there were, so those of the newest count. */
export function entriesBehind({ position, primary }: Pick<JournalProgress, 'position' | 'primary'>): number {
  if (!primary) return 0;
  return Math.max(0, primary.entry - (position?.epoch === primary.epoch ? position.entry : 0));
}

function journalJson(progress: JournalProgress): string {
  const { position, primary, bytesPerSecond, entriesPerSecond } = progress;
  const behind = entriesBehind(progress);
  const fields: [string, string | undefined][] = [
    ['bytes_per_second', double(bytesPerSecond)],
    ['entries_behind_primary', String(behind)],
    ['entries_per_second', double(entriesPerSecond)],
    ['non_primary_position', positionJson(position)],
    ['primary_position', positionJson(primary)],
    [
      'seconds_until_synced',
      behind > 0 && entriesPerSecond > 0 ? whole(Math.ceil(behind / entriesPerSecond)) : undefined,
    ],
  ];
  return `{${fields.flatMap(([key, value]) => (value === undefined ? [] : [`"${key}":${value}`])).join(',')}}`;
}

/** In Ceph's words; its objects are our segments, counted from 0. */
export const positionOf = (position: JournalPosition | undefined) => ({
  entry_tid: position?.entry ?? 0,
  object_number: position?.seq ?? 0,
  tag_tid: position?.tag ?? 0,
});

const positionJson = (position: JournalPosition | undefined): string => JSON.stringify(positionOf(position));

/** The JSON inside `description`. Keys are sorted, as Ceph's are; `syncing_bytes_done` and `syncing_bytes_total` are farside's. */
export function replayJson({ remoteSnapshotMs, lastSync, syncing, journal }: ReplayProgress): string {
  if (journal) return journalJson(journal);
  const rate = syncing
    ? perSecond(syncing.bytesDone, syncing.elapsedMs / 1000)
    : perSecond(lastSync?.bytes ?? 0, lastSync?.seconds ?? 0);
  const fields: Record<string, string | undefined> = {
    bytes_per_second: double(rate),
    bytes_per_snapshot: double(lastSync && lastSync.snapshots > 0 ? lastSync.totalBytes / lastSync.snapshots : 0),
    last_snapshot_bytes: whole(lastSync?.bytes),
    last_snapshot_sync_seconds: whole(lastSync?.seconds),
    local_snapshot_timestamp: whole(seconds(lastSync?.remoteTimestampMs)),
    remote_snapshot_timestamp: whole(seconds(remoteSnapshotMs)),
    replay_state: JSON.stringify(syncing ? 'syncing' : 'idle'),
    seconds_until_synced: whole(syncing && secondsLeft(syncing, rate)),
    syncing_bytes_done: whole(syncing?.bytesDone),
    syncing_bytes_total: whole(syncing?.bytesTotal),
    syncing_percent: whole(syncing && percentOf(syncing)),
    syncing_snapshot_timestamp: whole(seconds(syncing?.snapshotMs)),
  };
  const present = Object.entries(fields).filter(([, value]) => value !== undefined);
  return `{${present.map(([key, value]) => `"${key}":${value}`).join(',')}}`;
}

type Syncing = NonNullable<ReplayProgress['syncing']>;

const perSecond = (bytes: number, durationSeconds: number): number =>
  durationSeconds > 0 ? bytes / durationSeconds : 0;

const percentOf = ({ bytesDone, bytesTotal }: Syncing): number =>
  bytesTotal > 0 ? Math.min(100, (100 * bytesDone) / bytesTotal) : 0;

const secondsLeft = ({ bytesDone, bytesTotal }: Syncing, rate: number): number | undefined =>
  rate > 0 ? Math.ceil(Math.max(0, bytesTotal - bytesDone) / rate) : undefined;

const seconds = (timeMs: number | undefined): number | undefined => (timeMs === undefined ? undefined : timeMs / 1000);

const whole = (value: number | undefined): string | undefined =>
  value === undefined ? undefined : String(Math.floor(value));

/** Ceph prints a double with its point: `134217728.0`. */
function double(value: number): string {
  const rounded = Math.round(value * 100) / 100;
  return Number.isInteger(rounded) ? `${rounded}.0` : String(rounded);
}

export type StatusText = Pick<StoredStatus, 'state' | 'description'> & { position?: JournalPosition | undefined };

export const replayingStatus = (progress: ReplayProgress): StatusText => ({
  state: 'replaying',
  description: `replaying, ${replayJson(progress)}`,
  ...(progress.journal?.position && { position: progress.journal.position }),
});

/** What a site reports about its copy, from what `decideSync` said to do. `stopped` for a primary needs no peer to ask. */
export function statusOfDecision(decision: Decision, progress: ReplayProgress): StatusText {
  switch (decision.kind) {
    case 'idle':
      return replayingStatus({ ...progress, syncing: undefined });
    case 'sync':
      return decision.create
        ? { state: 'syncing', description: 'bootstrapping, CREATE_LOCAL_IMAGE' }
        : replayingStatus(progress);
    case 'stop':
      return { state: decision.state, description: decision.description };
    case 'remove':
      return { state: 'stopping_replay', description: 'stopping replay' };
    case 'wait':
      return { state: 'starting_replay', description: 'starting replay' };
  }
}

export const primaryStatus: StatusText = stopStatus['local-primary'];

/** A site that says this about its copy says that the copy is writable. */
export const saysPrimary = (status: StatusText): boolean =>
  [stopStatus['local-primary'], stopStatus['force-promoted']].some(
    (own) => own.state === status.state && own.description === status.description,
  );
