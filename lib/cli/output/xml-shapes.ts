// Owns the names of XML's roots and array elements, for every command that reports: rbd's where rbd has the command, so that
// XPath such as `//peers/peer` and `//images/image` finds what it is used to find.

import type { XmlShape } from './xml.ts';

const imageItems = {
  features: 'feature',
  op_features: 'op_feature',
  flags: 'flag',
  peer_sites: 'peer_site',
  snapshots: 'snapshot',
  mirror_peer_uuids: 'peer_uuid',
} as const;

function listed(item: unknown): string {
  if (typeof item === 'string') return 'name';
  return typeof item === 'object' && item !== null && 'snapshot' in item ? 'snapshot' : 'image';
}

export const xmlShapes = {
  children: { root: 'children', items: { children: 'child' } },
  collect: { root: 'collect' },
  config: { root: 'config', items: { config: 'option' } },
  devices: { root: 'devices', items: { devices: 'device' } },
  diskUsage: { root: 'stats', items: { images: 'image' } },
  extents: { root: 'extents', items: { extents: 'extent' } },
  failures: { root: 'failures', items: { failures: 'failure' } },
  imageMeta: { root: 'metadatas' },
  imageStatus: { root: 'image', items: imageItems },
  /** Names; or with -l images, each followed by its snapshots. */
  images: { root: 'images', items: { images: listed } },
  info: { root: 'image', items: imageItems },
  journal: { root: 'journal' },
  journalStatus: {
    root: 'status',
    items: { registered_clients: 'client', object_positions: 'object_position' },
  },
  locks: { root: 'locks', items: { locks: 'lock' } },
  namespaces: { root: 'namespaces', items: { namespaces: 'namespace' } },
  poolInfo: { root: 'mirror', items: { peers: 'peer' } },
  poolStatus: {
    root: 'status',
    items: { ...imageItems, warnings: 'warning', daemons: 'daemon', callouts: 'callout', images: 'image' },
  },
  purgeStatus: { root: 'scheduled', items: { scheduled: 'item' } },
  poolStats: { root: 'stats' },
  pools: { root: 'pools', items: { pools: 'pool' } },
  retention: { root: 'retention', items: { points: 'point' } },
  retried: { root: 'retried' },
  scheduleItems: { root: 'items', items: { items: 'item' } },
  scheduleLevels: { root: 'schedules', items: { schedules: 'schedule', items: 'item' } },
  scheduleStatus: { root: 'scheduled_images', items: { scheduled_images: 'image' } },
  site: { root: 'site', items: { pools: 'pool' } },
  sites: { root: 'sites', items: { sites: 'site' } },
  snapshots: { root: 'snapshots', items: imageItems },
  testFailovers: { root: 'test_failovers', items: { test_failovers: 'image' } },
  watchers: { root: 'status', items: { watchers: 'watcher' } },
  token: { root: 'token' },
  tokens: { root: 'tokens', items: { tokens: 'token' } },
  trash: { root: 'trash', items: { trash: 'image' } },
} satisfies Record<string, XmlShape>;
