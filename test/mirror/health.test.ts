// The roll-up of a pool, against recordings of the real rbd (a-pool lines 32 and 89, b-image lines 2, 54 and 223).

import { describe, expect, test } from 'vitest';
import { bothPrimary, poolStatusReport, summaryState, worstHealth } from '../../lib/mirror/status/health.ts';
import type { DaemonInput } from '../../lib/mirror/status/health.ts';
import { imageStatusStates, primaryStatus } from '../../lib/mirror/copy-status.ts';
import type { ImageStatusState } from '../../lib/mirror/copy-status.ts';
import type { ImageStatusInput, PeerDirection, SiteView } from '../../lib/mirror/status/status-report.ts';

const service = { serviceId: '4412', instanceId: '4414', daemonId: 'site-a', hostname: 'vm' };
const siteA: DaemonInput = {
  serviceId: '4412',
  instanceId: '4414',
  clientId: 'site-a',
  hostname: 'vm',
  version: '16.2.15',
  leader: true,
  heartbeatAgeMs: 0,
};
const view = (state?: ImageStatusState, up = true): SiteView =>
  state === undefined
    ? {}
    : {
        status: { state, description: state === 'stopped' ? primaryStatus.description : state, updatedAtMs: 0 },
        heartbeatAgeMs: up ? 0 : 1e9,
      };
const image = (local: SiteView, ...peers: [PeerDirection, SiteView][]): ImageStatusInput => ({
  name: 'i1',
  globalId: 'g',
  timeZone: 'UTC',
  local: { ...local, service },
  peers: peers.map(([direction, peer]) => ({ ...peer, direction, siteName: 'site-b', mirrorUuid: 'u' })),
});
const summaryOf = (images: ImageStatusInput[], daemons = [siteA]): object =>
  poolStatusReport({ images, daemons, verbose: false }).summary;

describe('the summary', () => {
  test('of a pool that nobody mirrors yet is UNKNOWN, of its images OK', () => {
    expect(poolStatusReport({ images: [], daemons: [], verbose: true })).toEqual({
      summary: { health: 'UNKNOWN', daemon_health: 'UNKNOWN', image_health: 'OK', states: {} },
      daemons: [],
      images: [],
    });
  });

  test('of an image without any status is WARNING', () => {
    expect(summaryOf([image(view())], [])).toEqual({
      health: 'WARNING',
      daemon_health: 'UNKNOWN',
      image_health: 'WARNING',
      states: { unknown: 1 },
    });
  });

  test('of a primary whose replica replays is OK and counts as replaying', () => {
    expect(summaryOf([image(view('stopped'), ['rx-tx', view('replaying')])])).toEqual({
      health: 'OK',
      daemon_health: 'OK',
      image_health: 'OK',
      states: { replaying: 1 },
    });
  });

  test('verbose shows sites as daemons and images without snapshots, key by key as rbd does', () => {
    const report = poolStatusReport({
      images: [{ ...image(view('replaying')), snapshots: [] }],
      daemons: [siteA],
      verbose: true,
    });
    expect(JSON.stringify(report.daemons)).toBe(
      '[{"service_id":"4412","instance_id":"4414","client_id":"site-a","hostname":"vm","ceph_version":"16.2.15","leader":true,"health":"OK"}]',
    );
    expect(Object.keys(report)).toEqual(['summary', 'daemons', 'images']);
    expect(report.images).toEqual([
      {
        name: 'i1',
        global_id: 'g',
        state: 'up+replaying',
        description: 'replaying',
        daemon_service: { service_id: '4412', instance_id: '4414', daemon_id: 'site-a', hostname: 'vm' },
        last_update: '1970-01-01 00:00:00',
      },
    ]);
  });

  test('states are counted in Ceph’s order', () => {
    const images = [...imageStatusStates.toReversed(), 'error' as const].map((state) => image(view(state)));
    const { states } = poolStatusReport({ images, daemons: [siteA], verbose: false }).summary;
    expect(Object.entries(states)).toEqual(imageStatusStates.map((state) => [state, state === 'error' ? 2 : 1]));
  });
});

describe('the state that an image counts as', () => {
  test.each([
    ['received only: the local one', image(view('replaying'), ['rx-only', view('error')]), 'replaying'],
    ['sent only: the peer’s', image(view('error'), ['tx-only', view('replaying')]), 'replaying'],
    ['two-way: the smaller', image(view('stopped'), ['rx-tx', view('syncing')]), 'syncing'],
    ['two-way, peer missing: unknown', image(view('stopped'), ['rx-tx', view()]), 'unknown'],
    ['two-way, peer down: unknown', image(view('stopped'), ['rx-tx', view('replaying', false)]), 'unknown'],
    ['local down: unknown', image(view('replaying', false)), 'unknown'],
    [
      'several peers: the smallest of all',
      image(view('stopped'), ['tx-only', view('replaying')], ['rx-tx', view('error')]),
      'error',
    ],
    ['one-way, both primary: stopped', image(view('stopped'), ['rx-only', view('stopped')]), 'stopped'],
  ] as const)('%s', (_, input, state) => {
    expect(summaryState(input)).toBe(state);
  });

  test.each([
    ['unknown', 'WARNING'],
    ['error', 'ERROR'],
    ['syncing', 'WARNING'],
    ['starting_replay', 'WARNING'],
    ['replaying', 'OK'],
    ['stopping_replay', 'WARNING'],
    ['stopped', 'OK'],
  ] as const)('%s makes the images %s', (state, health) => {
    expect(summaryOf([image(view('replaying')), image(view(state))])).toMatchObject({ image_health: health, health });
  });
});

describe('two primaries', () => {
  const both = image(view('stopped'), ['rx-tx', view('stopped')]);

  test('are a warning at once, in words', () => {
    const report = poolStatusReport({ images: [both], daemons: [siteA], verbose: false });
    expect(report.summary).toEqual({
      health: 'WARNING',
      daemon_health: 'OK',
      image_health: 'WARNING',
      states: { stopped: 1 },
    });
    expect(report.warnings).toEqual(['image i1 is primary on more than one site']);
  });

  test('need two sites that are up', () => {
    expect(bothPrimary(both)).toBe(true);
    expect(bothPrimary(image(view('stopped'), ['rx-tx', view('stopped', false)]))).toBe(false);
    expect(bothPrimary(image(view('replaying'), ['rx-tx', view('stopped')]))).toBe(false);
  });
});

describe('the health of the sites', () => {
  const healthOf = (...daemons: DaemonInput[]): object => summaryOf([], daemons);

  test.each([
    ['a live leader', [siteA], 'OK'],
    ['nobody', [], 'UNKNOWN'],
    ['no leader', [{ ...siteA, leader: false }], 'WARNING'],
    ['one that has fallen silent', [{ ...siteA, heartbeatAgeMs: 1e9 }], 'WARNING'],
    ['one that never spoke', [{ ...siteA, heartbeatAgeMs: undefined }], 'WARNING'],
    ['a warning', [{ ...siteA, callouts: [{ level: 'warning', text: 'unable to access remote pool' }] }], 'WARNING'],
    [
      'an error beside a warning',
      [{ ...siteA, callouts: [{ level: 'error', text: 'x' }], heartbeatAgeMs: 1e9 }],
      'ERROR',
    ],
    ['the worst of several', [siteA, { ...siteA, heartbeatAgeMs: 1e9 }], 'WARNING'],
  ] as [string, DaemonInput[], string][])('with %s', (_, daemons, health) => {
    expect(healthOf(...daemons)).toMatchObject({ daemon_health: health, health });
  });

  test('callouts say why', () => {
    const [daemon] = poolStatusReport({
      images: [],
      daemons: [{ ...siteA, heartbeatAgeMs: 1e9 }],
      verbose: true,
    }).daemons!;
    expect(daemon).toMatchObject({ health: 'WARNING', callouts: ['not reporting status'] });
  });

  test('the order is OK, UNKNOWN, WARNING, ERROR', () => {
    expect([
      worstHealth([]),
      worstHealth(['UNKNOWN', 'OK']),
      worstHealth(['WARNING', 'UNKNOWN']),
      worstHealth(['ERROR', 'WARNING']),
    ]).toEqual(['OK', 'UNKNOWN', 'WARNING', 'ERROR']);
  });
});
