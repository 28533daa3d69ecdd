// Owns every key of a site's bucket, with its inverse. No key string is written anywhere else.
//
// Two kinds and no third: *write-once* keys (packs, journal slots, deltas, sync markers, feed records, tombstones) and *documents*
// (site, pool, namespaces, names, catalog, schedules, header, upload, peer state, status), changed only by compare-and-swap.

import { FarsideError } from '../errors.ts';

/** Names of pools, namespaces and images: no slash, at sign or control character; at most 255 bytes. */
const namePattern = /^[^/@\p{Cc}]+$/u;
const nameBytesMax = 255;

const encode = (name: string): string => encodeURIComponent(name).replace(/\./g, '%2E');
const decode = (text: string): string => decodeURIComponent(text);

/** The segment that stands for RBD's default namespace, whose name is the empty string. */
const defaultNamespaceSegment = '_';
const encodeNamespace = (namespace: string): string =>
  namespace === '' ? defaultNamespaceSegment : `n-${encode(namespace)}`;
const decodeNamespace = (segment: string): string =>
  segment === defaultNamespaceSegment ? '' : decode(segment.slice(2));

/** Numbers in keys have fixed width, so that key order is number order. */
const number = (value: number): string => value.toString().padStart(12, '0');

export type Key =
  | { kind: 'site' }
  | { kind: 'schedules' }
  | { kind: 'config' }
  | { kind: 'probe'; id: string }
  | { kind: 'heartbeat' }
  | { kind: 'housekeeping' }
  | { kind: 'pool'; pool: string }
  | { kind: 'pool-schedules'; pool: string }
  | { kind: 'pool-config'; pool: string }
  | { kind: 'catalog'; pool: string }
  | { kind: 'feed'; pool: string; seq: number }
  | { kind: 'feed-hint'; pool: string }
  | { kind: 'tombstone'; pool: string; globalId: string }
  | { kind: 'peer'; pool: string; peerUuid: string }
  | { kind: 'namespace'; pool: string; namespace: string }
  | { kind: 'name'; pool: string; namespace: string; image: string }
  | { kind: 'upload'; pool: string; namespace: string; image: string }
  | {
      kind: 'trash';
      pool: string;
      source: 'user' | 'mirroring';
      dueSeconds: number;
      imageId: string;
      trashId: string;
      namespace: string;
    }
  | { kind: 'status'; pool: string; globalId: string; peerUuid: string }
  | { kind: 'failure'; id: string }
  | { kind: 'header'; imageId: string }
  | { kind: 'pack'; imageId: string; packId: string }
  | { kind: 'slot'; imageId: string; epoch: string; seq: number }
  | { kind: 'delta'; imageId: string; snapshotId: number; deltaId: string; step: number }
  | { kind: 'sync-manifest'; imageId: string; syncId: string; step: number }
  | { kind: 'sync-marker'; imageId: string; syncId: string; step: number; piece: number }
  | { kind: 'collect'; imageId: string; run: string; step: number };

/** The key's text. Names are percent-encoded, so any name allowed by RBD is one segment. */
export function keyText(key: Key): string {
  switch (key.kind) {
    case 'site':
      return 'site.json';
    case 'schedules':
      return 'schedules.json';
    case 'config':
      return 'config.json';
    case 'probe':
      return `probe/${key.id}`;
    case 'heartbeat':
      return 'status/heartbeat.json';
    case 'housekeeping':
      return 'status/housekeeping.json';
    case 'failure':
      return `status/failures/${key.id}`;
    case 'status':
      return `status/pools/${encode(key.pool)}/${key.globalId}/${key.peerUuid}.json`;
    case 'header':
    case 'pack':
    case 'slot':
    case 'delta':
    case 'sync-manifest':
    case 'sync-marker':
    case 'collect':
      return imageKeyText(key);
    default:
      return poolKeyText(key);
  }
}

type ImageKey = Exclude<Extract<Key, { imageId: string }>, { pool: string }>;

function imageKeyText(key: ImageKey): string {
  const image = `images/${key.imageId}`;
  switch (key.kind) {
    case 'header':
      return `${image}/header.json`;
    case 'pack':
      return `${image}/packs/${key.packId}`;
    case 'slot':
      return `${image}/journal/${key.epoch}/${number(key.seq)}`;
    case 'delta':
      return `${image}/deltas/${number(key.snapshotId)}/${key.deltaId}/${number(key.step)}`;
    case 'sync-manifest':
      return `${image}/syncs/${key.syncId}/manifests/${number(key.step)}`;
    case 'sync-marker':
      return `${image}/syncs/${key.syncId}/markers/${number(key.step)}-${number(key.piece)}`;
    case 'collect':
      return `${image}/collect/${key.run}/${number(key.step)}`;
  }
}

type PoolKey = Exclude<Extract<Key, { pool: string }>, { kind: 'status' }>;

function poolKeyText(key: PoolKey): string {
  const pool = `pools/${encode(key.pool)}`;
  switch (key.kind) {
    case 'pool':
      return `${pool}/pool.json`;
    case 'pool-schedules':
      return `${pool}/schedules.json`;
    case 'pool-config':
      return `${pool}/config.json`;
    case 'catalog':
      return `${pool}/catalog.json`;
    case 'feed':
      return `${pool}/feed/${number(key.seq)}`;
    case 'feed-hint':
      return `${pool}/feed-hint.json`;
    case 'tombstone':
      return `${pool}/removed/${key.globalId}`;
    case 'peer':
      return `${pool}/peers/${key.peerUuid}.json`;
    case 'namespace':
      return `${pool}/namespaces/${encode(key.namespace)}.json`;
    case 'name':
      return `${pool}/names/${encodeNamespace(key.namespace)}/${encode(key.image)}.json`;
    case 'upload':
      return `${pool}/uploads/${encodeNamespace(key.namespace)}/${encode(key.image)}.json`;
    case 'trash':
      return `${pool}/trash/${key.source}/${number(key.dueSeconds)}/${key.imageId}/${key.trashId}/${encodeNamespace(key.namespace)}`;
  }
}

const id = '([0-9a-f-]{1,64})';
const segment = '([^/]+)';
const digits = '(\\d{12})';

const patterns: ReadonlyArray<[RegExp, (m: string[]) => Key]> = [
  [/^site\.json$/, () => ({ kind: 'site' })],
  [/^schedules\.json$/, () => ({ kind: 'schedules' })],
  [/^config\.json$/, () => ({ kind: 'config' })],
  [new RegExp(`^probe/${id}$`), (m) => ({ kind: 'probe', id: m[1]! })],
  [/^status\/heartbeat\.json$/, () => ({ kind: 'heartbeat' })],
  [/^status\/housekeeping\.json$/, () => ({ kind: 'housekeeping' })],
  [new RegExp(`^status/failures/${segment}$`), (m) => ({ kind: 'failure', id: m[1]! })],
  [
    new RegExp(`^status/pools/${segment}/${id}/${id}\\.json$`),
    (m) => ({ kind: 'status', pool: decode(m[1]!), globalId: m[2]!, peerUuid: m[3]! }),
  ],
  [new RegExp(`^images/${id}/header\\.json$`), (m) => ({ kind: 'header', imageId: m[1]! })],
  [new RegExp(`^images/${id}/packs/${id}$`), (m) => ({ kind: 'pack', imageId: m[1]!, packId: m[2]! })],
  [
    new RegExp(`^images/${id}/journal/${id}/${digits}$`),
    (m) => ({ kind: 'slot', imageId: m[1]!, epoch: m[2]!, seq: Number(m[3]) }),
  ],
  [
    new RegExp(`^images/${id}/deltas/${digits}/${id}/${digits}$`),
    (m) => ({ kind: 'delta', imageId: m[1]!, snapshotId: Number(m[2]), deltaId: m[3]!, step: Number(m[4]) }),
  ],
  [
    new RegExp(`^images/${id}/syncs/${id}/manifests/${digits}$`),
    (m) => ({ kind: 'sync-manifest', imageId: m[1]!, syncId: m[2]!, step: Number(m[3]) }),
  ],
  [
    new RegExp(`^images/${id}/syncs/${id}/markers/${digits}-${digits}$`),
    (m) => ({ kind: 'sync-marker', imageId: m[1]!, syncId: m[2]!, step: Number(m[3]), piece: Number(m[4]) }),
  ],
  [
    new RegExp(`^images/${id}/collect/${id}/${digits}$`),
    (m) => ({ kind: 'collect', imageId: m[1]!, run: m[2]!, step: Number(m[3]) }),
  ],
  [new RegExp(`^pools/${segment}/pool\\.json$`), (m) => ({ kind: 'pool', pool: decode(m[1]!) })],
  [new RegExp(`^pools/${segment}/schedules\\.json$`), (m) => ({ kind: 'pool-schedules', pool: decode(m[1]!) })],
  [new RegExp(`^pools/${segment}/config\\.json$`), (m) => ({ kind: 'pool-config', pool: decode(m[1]!) })],
  [new RegExp(`^pools/${segment}/catalog\\.json$`), (m) => ({ kind: 'catalog', pool: decode(m[1]!) })],
  [new RegExp(`^pools/${segment}/feed/${digits}$`), (m) => ({ kind: 'feed', pool: decode(m[1]!), seq: Number(m[2]) })],
  [new RegExp(`^pools/${segment}/feed-hint\\.json$`), (m) => ({ kind: 'feed-hint', pool: decode(m[1]!) })],
  [
    new RegExp(`^pools/${segment}/removed/${id}$`),
    (m) => ({ kind: 'tombstone', pool: decode(m[1]!), globalId: m[2]! }),
  ],
  [
    new RegExp(`^pools/${segment}/peers/${id}\\.json$`),
    (m) => ({ kind: 'peer', pool: decode(m[1]!), peerUuid: m[2]! }),
  ],
  [
    new RegExp(`^pools/${segment}/namespaces/${segment}\\.json$`),
    (m) => ({ kind: 'namespace', pool: decode(m[1]!), namespace: decode(m[2]!) }),
  ],
  [
    new RegExp(`^pools/${segment}/(names|uploads)/(_|n-[^/]+)/${segment}\\.json$`),
    (m) => ({
      kind: m[2] === 'names' ? 'name' : 'upload',
      pool: decode(m[1]!),
      namespace: decodeNamespace(m[3]!),
      image: decode(m[4]!),
    }),
  ],
  [
    new RegExp(`^pools/${segment}/trash/(user|mirroring)/${digits}/${id}/${id}/(_|n-[^/]+)$`),
    (m) => ({
      kind: 'trash',
      pool: decode(m[1]!),
      source: m[2] === 'user' ? 'user' : 'mirroring',
      dueSeconds: Number(m[3]),
      imageId: m[4]!,
      trashId: m[5]!,
      namespace: decodeNamespace(m[6]!),
    }),
  ],
];

/** The inverse of `keyText`; undefined for text that no key has. */
export function parseKey(text: string): Key | undefined {
  for (const [pattern, make] of patterns) {
    const match = pattern.exec(text);
    if (!match) continue;
    try {
      const key = make(match);
      return keyText(key) === text ? key : undefined;
    } catch {
      return undefined; // malformed percent-encoding
    }
  }
  return undefined;
}

/** Prefixes for listing; each ends with a slash. */
export const prefixes = {
  images: 'images/',
  pools: 'pools/',
  image: (imageId: string) => `images/${imageId}/`,
  packs: (imageId: string) => `images/${imageId}/packs/`,
  /** Slots of every epoch. */
  journal: (imageId: string) => `images/${imageId}/journal/`,
  deltas: (imageId: string) => `images/${imageId}/deltas/`,
  delta: (imageId: string, snapshotId: number) => `images/${imageId}/deltas/${number(snapshotId)}/`,
  syncs: (imageId: string) => `images/${imageId}/syncs/`,
  sync: (imageId: string, syncId: string) => `images/${imageId}/syncs/${syncId}/`,
  syncMarkers: (imageId: string, syncId: string) => `images/${imageId}/syncs/${syncId}/markers/`,
  collects: (imageId: string) => `images/${imageId}/collect/`,
  names: (pool: string, namespace: string) => `pools/${encode(pool)}/names/${encodeNamespace(namespace)}/`,
  pool: (pool: string) => `pools/${encode(pool)}/`,
  namespaces: (pool: string) => `pools/${encode(pool)}/namespaces/`,
  /** Of every namespace. */
  allNames: (pool: string) => `pools/${encode(pool)}/names/`,
  /** Images in the trash; what may go first comes first, for each source. */
  trash: (pool: string) => `pools/${encode(pool)}/trash/`,
  trashOf: (pool: string, source: 'user' | 'mirroring') => `pools/${encode(pool)}/trash/${source}/`,
  failures: 'status/failures/',
  statuses: (pool: string) => `status/pools/${encode(pool)}/`,
} as const;

/** Throws EINVAL unless `name` may name a pool, a namespace or an image. */
export function checkName(what: 'pool' | 'namespace' | 'image' | 'snapshot', name: string): string {
  if (namePattern.test(name) && Buffer.byteLength(name) <= nameBytesMax) return name;
  throw new FarsideError(
    'EINVAL',
    `invalid ${what} name '${name}': use 1 to ${nameBytesMax} bytes without '/', '@' or control characters`,
  );
}
