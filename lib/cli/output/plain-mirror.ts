// Owns the plain text of mirroring: pools, images and schedules, as rbd prints it (people grep it). Pure.

import { formatBytes, formatSpec } from '../parse/grammar.ts';
import type { ImageRetention, ImageStatus, PoolInfo, PoolStatus, Retention } from '../client/shapes.ts';
import type { PurgeStatus, ScheduleItems, ScheduleLevels, ScheduleStatus, TestFailovers } from '../client/shapes.ts';
import { textTable, type Column } from './text-table.ts';

const lines = (texts: readonly string[]): string => texts.map((text) => `${text}\n`).join('');

/** `all`: as with `--all`, when rbd names also what it does not know. */
export function plainPoolInfo(info: PoolInfo, { all }: { all: boolean }): string {
  const head = [
    `Mode: ${info.mode}`,
    ...(info.site_name === undefined ? [] : [`Site Name: ${info.site_name}`]),
    ...(info.mirror_uuid === undefined ? [] : [`Mirror UUID: ${info.mirror_uuid}`]),
    ...(info.remote_namespace === undefined ? [] : [`Remote Namespace: ${info.remote_namespace}`]),
  ];
  if (info.mode === 'disabled' || info.peers === undefined)
    return lines(head.slice(0, info.mode === 'disabled' ? 1 : undefined));
  if (info.peers.length === 0) return lines([...head, '', 'Peer Sites: none']);
  return lines([...head, '', 'Peer Sites: ', ...info.peers.flatMap((peer) => peerLines(peer, all))]);
}

function peerLines(peer: NonNullable<PoolInfo['peers']>[number], all: boolean): string[] {
  return [
    '',
    `UUID: ${peer.uuid}`,
    `Name: ${peer.site_name}`,
    ...(peer.direction === 'rx-only' && peer.mirror_uuid === '' ? [] : [`Mirror UUID: ${peer.mirror_uuid}`]),
    `Direction: ${peer.direction}`,
    `Client: ${peer.client_name}`,
    ...(all ? [`Mon Host: ${peer.mon_host ?? ''}`, `Key: ${peer.key ?? ''}`] : []),
  ];
}

export function plainPoolStatus(status: PoolStatus): string {
  const { summary, warnings, daemons, images } = status;
  const counts = Object.entries(summary.states);
  const total = counts.reduce((sum, [, count]) => sum + count, 0);
  const head = lines([
    `health: ${summary.health}`,
    `daemon health: ${summary.daemon_health}`,
    `image health: ${summary.image_health}`,
    `images: ${total} total`,
    ...counts.map(([state, count]) => `    ${count} ${state}`),
    ...(warnings ?? []).map((warning) => `warning: ${warning}`),
  ]);
  if (daemons === undefined && images === undefined) return head;
  return `${head}\nDAEMONS\n${daemonsText(daemons ?? [])}\nIMAGES${imagesText(images ?? [])}`;
}

function daemonsText(daemons: NonNullable<PoolStatus['daemons']>): string {
  if (daemons.length === 0) return '  none\n';
  return daemons
    .map((daemon) => lines([`service ${daemon.service_id}:`, ...daemonLines(daemon).map((line) => `  ${line}`), '']))
    .join('');
}

function daemonLines(daemon: NonNullable<PoolStatus['daemons']>[number]): string[] {
  return [
    `instance_id: ${daemon.instance_id}`,
    `client_id: ${daemon.client_id}`,
    `hostname: ${daemon.hostname}`,
    `version: ${daemon.ceph_version}`,
    `leader: ${daemon.leader}`,
    `health: ${daemon.health}`,
    ...(daemon.callouts?.length ? [`callouts: ${daemon.callouts.join(', ')}`] : []),
  ];
}

/** As rbd: each image begins with the end of the line before it; without images that line has no end. */
const imagesText = (images: readonly ImageStatus[]): string =>
  images.map((image) => `\n${plainImageStatus(image)}`).join('');

export function plainImageStatus(status: ImageStatus): string {
  const { state, description, daemon_service: service, peer_sites: peers, snapshots } = status;
  return lines([
    `${status.name}:`,
    `  global_id:   ${status.global_id}`,
    ...(state === undefined ? [] : [`  state:       ${state}`]),
    ...(description === undefined ? [] : [`  description: ${description}`]),
    ...(service === undefined ? [] : [`  service:     ${service.daemon_id} on ${service.hostname}`]),
    ...(status.last_update === undefined ? [] : [`  last_update: ${status.last_update}`]),
    ...(peers?.length ? ['  peer_sites:', ...peers.flatMap(peerSiteLines)] : []),
    ...(snapshots?.length ? ['  snapshots:', ...snapshots.map(snapshotLine)] : []),
  ]);
}

function peerSiteLines(peer: NonNullable<ImageStatus['peer_sites']>[number], index: number): string[] {
  return [
    ...(index === 0 ? [] : ['']),
    `    name: ${peer.site_name}`,
    `    state: ${peer.state}`,
    `    description: ${peer.description}`,
    `    last_update: ${peer.last_update}`,
    ...(peer.via === undefined ? [] : [`    via: ${peer.via}`]),
  ];
}

const snapshotLine = (snapshot: NonNullable<ImageStatus['snapshots']>[number]): string =>
  `    ${snapshot.id} ${snapshot.name} (${snapshot.demoted ? 'demoted ' : ''}peer_uuids:[${snapshot.mirror_peer_uuids.join(',')}])${notQuiesced(snapshot)}`;

const notQuiesced = ({ quiesce_error: error }: { quiesce_error?: string | undefined }): string =>
  error === undefined ? '' : ` not quiesced: ${error.replaceAll(/\s+/g, ' ')}`;

/** One level's schedule: `every 1d starting at 14:00:00-05:00, every 1h`. */
export const scheduleText = (items: ScheduleItems): string =>
  items
    .map((item) => `every ${item.interval}${item.start_time === '' ? '' : ` starting at ${item.start_time}`}`)
    .join(', ');

export const plainScheduleLevels = (levels: ScheduleLevels): string =>
  textTable(
    ['POOL', 'NAMESPACE', 'IMAGE', 'SCHEDULE'].map((header) => ({ header })),
    levels.map((level) => [level.pool, level.namespace, level.image, scheduleText(level.items)]),
  );

export const plainScheduleStatus = (status: ScheduleStatus): string =>
  textTable(
    ['SCHEDULE TIME', 'IMAGE'].map((header) => ({ header })),
    status.map((one) => [one.schedule_time, `${one.image}${notQuiesced(one)}`]),
  );

export const plainPurgeLevels = (levels: Pick<ScheduleLevels[number], 'pool' | 'namespace' | 'items'>[]): string =>
  textTable(
    ['POOL', 'NAMESPACE', 'SCHEDULE'].map((header) => ({ header })),
    levels.map((level) => [level.pool, level.namespace, scheduleText(level.items)]),
  );

export const plainPurgeStatus = (status: PurgeStatus): string =>
  textTable(
    ['POOL', 'NAMESPACE', 'SCHEDULE TIME'].map((header) => ({ header })),
    status.map((one) => [one.pool, one.namespace, one.schedule_time]),
  );

const keepText = ({ keep }: Retention): string => (keep === null ? 'nothing besides the newest' : keep);

export const plainPoolRetention = (retention: Retention): string => `keep: ${keepText(retention)}\n`;

/** The policy, then the points, oldest first. */
export function plainImageRetention(retention: ImageRetention): string {
  const from = retention.from === 'pool' ? " (the pool's)" : '';
  const points = retention.points.map(({ id, taken_at, size }) => [String(id), taken_at, formatBytes(size)]);
  const columns: Column[] = [
    { header: 'SNAPID', align: 'right' },
    { header: 'TAKEN' },
    { header: 'SIZE', align: 'right' },
  ];
  return `keep: ${keepText(retention)}${from}\n${points.length === 0 ? '' : textTable(columns, points)}`;
}

/** Test clones, one a line, with the mirror snapshot that each is of. */
export function plainTestFailovers(tests: TestFailovers): string {
  if (tests.length === 0) return '';
  const rows = tests.map(({ pool, pool_namespace: namespace, image, snapshot_id: id }) => [
    formatSpec({ pool, namespace, image }),
    String(id),
  ]);
  return textTable([{ header: 'IMAGE' }, { header: 'SNAPID', align: 'right' }], rows);
}
