// Owns what a site says of its own copy of an image: the state, and the description that ceph-csi, Rook and exporters parse
// (reference §2.7, §2.8). Pure. Sites send it to each other (peer-protocol.ts); what is made of it for a report is in status/.

import type { Header, Mirror } from '../image/header.ts';
import { placeOf, statusPlace, type Place, type StatusPlace } from './place.ts';
import { stopStatus } from './roles/roles.ts';

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
  position: Place | undefined;
  primary: Place | undefined;
  bytesPerSecond: number;
  entriesPerSecond: number;
};

/** Of a replica that has what its header says and no more; undefined in snapshot mode. */
export function journalOf(header: Pick<Header, 'mirror' | 'journal' | 'snapshots'>): JournalProgress | undefined {
  if (header.mirror?.mode !== 'journal') return undefined;
  const position = placeOf(header);
  return { position, primary: position, bytesPerSecond: 0, entriesPerSecond: 0 };
}

/** Requests between two positions; across epochs it is not known how many there were, so those of the newest count. */
export function entriesBehind({ position, primary }: Pick<JournalProgress, 'position' | 'primary'>): number {
  if (!primary) return 0;
  return Math.max(0, primary.entry - (position && position.epoch === primary.epoch ? position.entry : 0));
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
export const positionOf = (position: Place | undefined) => ({
  entry_tid: position?.entry ?? 0,
  object_number: position?.seq ?? 0,
  tag_tid: position?.tag ?? 0,
});

const positionJson = (position: Place | undefined): string => JSON.stringify(positionOf(position));

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

export type StatusText = Pick<StoredStatus, 'state' | 'description'> & StatusPlace;

export const replayingStatus = (progress: ReplayProgress): StatusText => ({
  state: 'replaying',
  description: `replaying, ${replayJson(progress)}`,
  ...(progress.journal?.position && statusPlace(progress.journal.position)),
});

export const primaryStatus: StatusText = stopStatus['local-primary'];

/** A site that says this about its copy says that the copy is writable. */
export const saysPrimary = (status: StatusText): boolean =>
  [stopStatus['local-primary'], stopStatus['force-promoted']].some(
    (own) => own.state === status.state && own.description === status.description,
  );
