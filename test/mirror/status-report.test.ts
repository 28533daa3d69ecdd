// Image status against recordings of the real rbd (transcript b-image, lines 33, 46, 52 and 74), and the description's JSON.

import { describe, expect, test } from 'vitest';
import { decideSync } from '../../lib/mirror/roles/roles.ts';
import { primaryStatus, replayJson, replayingStatus, saysPrimary } from '../../lib/mirror/copy-status.ts';
import {
  heartbeatFreshMsDefault,
  imageStatusReport,
  isUp,
  timestampText,
} from '../../lib/mirror/status/status-report.ts';
import type { StoredStatus } from '../../lib/mirror/copy-status.ts';
import type { ImageStatusInput, PeerSite } from '../../lib/mirror/status/status-report.ts';
import { mirrorSnapshot } from './role-model.ts';

const updatedAtMs = Date.UTC(2026, 10, 23, 7, 6, 25);
const lastSync = {
  bytes: 134217728,
  seconds: 0.9,
  remoteTimestampMs: 1795417571_250,
  completedAtMs: 1795417574_000,
  snapshots: 1,
  totalBytes: 134217728,
};
const service = { serviceId: '4412', instanceId: '4414', daemonId: 'site-a', hostname: 'vm' };
const stopped: StoredStatus = { ...primaryStatus, updatedAtMs };
const siteB: PeerSite = { siteName: 'site-b', mirrorUuid: 'fe0ae286-d2a0-49c7-b39f-82f8500465e2', direction: 'rx-tx' };
const base: ImageStatusInput = {
  name: 's1',
  globalId: '05c54766-4f09-4079-807b-dcc9efb92b75',
  local: { service },
  peers: [siteB],
  timeZone: 'UTC',
};

const notFound = { state: 'down+unknown', description: 'status not found', last_update: '' };
const peerNotFound = { site_name: 'site-b', mirror_uuids: 'fe0ae286-d2a0-49c7-b39f-82f8500465e2', ...notFound };
const head = { name: 's1', global_id: '05c54766-4f09-4079-807b-dcc9efb92b75' };

/** Recorded on site-b; the recorded rate is an average over time, ours that of the last sync. */
const replaying =
  'replaying, {"bytes_per_second":149130808.89,"bytes_per_snapshot":134217728.0,"last_snapshot_bytes":134217728,' +
  '"last_snapshot_sync_seconds":0,"local_snapshot_timestamp":1795417571,"remote_snapshot_timestamp":1795417571,"replay_state":"idle"}';

describe('image status', () => {
  test('before any status is known it is as rbd shows it', () => {
    expect(imageStatusReport(base)).toEqual({ ...head, ...notFound, peer_sites: [peerNotFound] });
  });

  test('without peers there are no peer sites', () => {
    expect(imageStatusReport({ ...base, peers: [] })).toEqual({ ...head, ...notFound });
  });

  test('of a primary it is rbd’s, key by key in order', () => {
    const peer = {
      ...siteB,
      status: { ...replayingStatus({ lastSync, remoteSnapshotMs: 1795417571_250 }), updatedAtMs },
      heartbeatAgeMs: 0,
    };
    const snapshot = mirrorSnapshot({
      id: 4,
      state: 'primary',
      mirrorPeerUuids: ['71249ac3-c569-4c3d-a9d0-50c2f0482888'],
    });
    const demotion = mirrorSnapshot({ id: 5, state: 'primary-demoted', mirrorPeerUuids: [] });
    const copied = mirrorSnapshot({ id: 3, state: 'non-primary', primaryMirrorUuid: 'u', primarySnapId: 1 });
    const report = imageStatusReport({
      ...base,
      local: { service, status: stopped, heartbeatAgeMs: 0 },
      peers: [peer],
      snapshots: [copied, snapshot, demotion],
    });
    expect(JSON.stringify(report)).toBe(
      JSON.stringify({
        ...head,
        state: 'up+stopped',
        description: 'local image is primary',
        daemon_service: { service_id: '4412', instance_id: '4414', daemon_id: 'site-a', hostname: 'vm' },
        last_update: '2026-11-23 07:06:25',
        peer_sites: [
          {
            site_name: 'site-b',
            mirror_uuids: 'fe0ae286-d2a0-49c7-b39f-82f8500465e2',
            state: 'up+replaying',
            description: replaying,
            last_update: '2026-11-23 07:06:25',
          },
        ],
        snapshots: [
          { id: 4, name: 's4', demoted: false, mirror_peer_uuids: ['71249ac3-c569-4c3d-a9d0-50c2f0482888'] },
          { id: 5, name: 's5', demoted: true, mirror_peer_uuids: [] },
        ],
      }),
    );
  });

  test('a replica lists no snapshots', () => {
    expect(imageStatusReport(base)).not.toHaveProperty('snapshots');
  });

  test('a site that is not heard of any more is down, keeps its last words and names no service', () => {
    const local = { service, status: stopped, heartbeatAgeMs: heartbeatFreshMsDefault + 1 };
    const report = imageStatusReport({ ...base, local, peers: [{ ...siteB, status: stopped }] });
    expect(report).toMatchObject({
      state: 'down+stopped',
      description: 'local image is primary',
      last_update: '2026-11-23 07:06:25',
    });
    expect(report).not.toHaveProperty('daemon_service');
    expect(report.peer_sites).toMatchObject([{ state: 'down+stopped' }]);
  });

  test('up ends exactly when the heartbeat is too old', () => {
    expect(isUp({ status: stopped, heartbeatAgeMs: 1000 }, 1000)).toBe(true);
    expect(isUp({ status: stopped, heartbeatAgeMs: 1001 }, 1000)).toBe(false);
    expect(isUp({ heartbeatAgeMs: 0 }, 1000)).toBe(false);
  });

  test('a pool that only sends shows no status of its own', () => {
    const report = imageStatusReport({
      ...base,
      local: { service, status: stopped, heartbeatAgeMs: 0 },
      peers: [{ ...siteB, direction: 'tx-only' }],
    });
    expect(report).toEqual({ ...head, peer_sites: [peerNotFound] });
  });

  test('a site that is only received from is shown once it has reported', () => {
    const peer: PeerSite = { ...siteB, direction: 'rx-only' };
    expect(imageStatusReport({ ...base, peers: [peer] })).not.toHaveProperty('peer_sites');
    expect(
      imageStatusReport({ ...base, peers: [{ ...peer, status: stopped, heartbeatAgeMs: 0 }] }).peer_sites,
    ).toHaveLength(1);
  });
});

describe('the JSON in a description', () => {
  test('before the first sync it has rates only', () => {
    expect(replayJson({})).toBe('{"bytes_per_second":0.0,"bytes_per_snapshot":0.0,"replay_state":"idle"}');
  });

  test('while syncing it shows how far it is, in sorted keys', () => {
    const syncing = { snapshotMs: 1795417600_000, bytesDone: 25_000_000, bytesTotal: 100_000_000, elapsedMs: 2000 };
    const json = replayJson({ lastSync, remoteSnapshotMs: 1795417600_000, syncing });
    expect(json).toBe(
      '{"bytes_per_second":12500000.0,"bytes_per_snapshot":134217728.0,"last_snapshot_bytes":134217728,"last_snapshot_sync_seconds":0,' +
        '"local_snapshot_timestamp":1795417571,"remote_snapshot_timestamp":1795417600,"replay_state":"syncing","seconds_until_synced":6,' +
        '"syncing_bytes_done":25000000,"syncing_bytes_total":100000000,"syncing_percent":25,"syncing_snapshot_timestamp":1795417600}',
    );
    const keys = Object.keys(JSON.parse(json) as object);
    expect(keys).toEqual(keys.toSorted());
  });

  test('without a rate it promises no end, and an empty or overshooting delta stays within 0 and 100 per cent', () => {
    const none = JSON.parse(
      replayJson({ syncing: { snapshotMs: 0, bytesDone: 0, bytesTotal: 0, elapsedMs: 0 } }),
    ) as object;
    expect(none).toMatchObject({ syncing_percent: 0, bytes_per_second: 0 });
    expect(none).not.toHaveProperty('seconds_until_synced');
    const over = JSON.parse(
      replayJson({ syncing: { snapshotMs: 0, bytesDone: 20, bytesTotal: 10, elapsedMs: 1000 } }),
    ) as object;
    expect(over).toMatchObject({ syncing_percent: 100, seconds_until_synced: 0 });
  });

  test('ceph-csi finds it behind `replaying, `', () => {
    const { state, description } = replayingStatus({ lastSync, remoteSnapshotMs: 1795417571_250 });
    expect(state).toBe('replaying');
    expect(JSON.parse(description.slice('replaying, '.length))).toMatchObject({
      local_snapshot_timestamp: 1795417571,
      replay_state: 'idle',
    });
  });
});

describe('the status that follows from a decision', () => {
  const primary = mirrorSnapshot({ id: 1, state: 'primary', mirrorPeerUuids: ['p'] });
  const copied = mirrorSnapshot({
    id: 9,
    state: 'non-primary',
    primaryMirrorUuid: 'there',
    primarySnapId: 1,
    hash: 'content 1',
  });
  const remote = { kind: 'present', mirrorUuid: 'there', state: 'enabled', snapshots: [primary] } as const;
  const local = { mirrorUuid: 'here', peerUuid: 'p', nameTaken: false };
  const image = { state: 'enabled', resyncRequested: false, snapshots: [copied] } as const;

  test.each([
    ['primary itself', { ...local, image: { ...image, snapshots: [primary] } }, 'stopped', 'local image is primary'],
    [
      'split-brain',
      { ...local, image: { ...image, snapshots: [{ ...copied, sizeBytes: 1 }] } },
      'error',
      'split-brain',
    ],
  ])('%s', (_, view, state, description) => {
    expect(decideSync({ local: view, remote })).toMatchObject({ kind: 'stop', state, description });
  });

  test('only the words of a primary say primary', () => {
    expect(saysPrimary(primaryStatus)).toBe(true);
    expect(saysPrimary({ state: 'stopped', description: 'force promoted' })).toBe(true);
    expect(saysPrimary({ state: 'stopped', description: 'stopped' })).toBe(false);
  });
});

test('timestamps are in the given zone and do not name it', () => {
  expect(timestampText(updatedAtMs, 'UTC')).toBe('2026-11-23 07:06:25');
  expect(timestampText(updatedAtMs, 'Asia/Tokyo')).toBe('2026-11-23 16:06:25');
  expect(timestampText(Date.UTC(2026, 0, 1), 'UTC')).toBe('2026-01-01 00:00:00');
});
