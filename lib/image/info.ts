// Owns what is shown of an image: rbd's `info` and `ls -l` JSON. Pure but for reading the header. Fields are only added.
//
// Times are UTC in C's `asctime` form, as rbd prints them (rbd uses the local zone; a site has none).

import { FarsideError } from '../errors.ts';
import { isNonPrimary, openHeader, readHeader } from './access.ts';
import type { ImageSpec } from './deps.ts';
import { shownSnapshots, trashSnapshots, userSnapshots, type Header, type Snapshot } from './header.ts';
import { childrenOf } from './clones/lineage.ts';
import { lockOf, type LockType } from './locks.ts';
import type { NameDeps } from './names.ts';

const days = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'] as const;
const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'] as const;

/** `Mon Nov 23 07:06:09 2026`; a day below ten is padded with a space. */
export function timestampText(timeMs: number): string {
  const date = new Date(timeMs);
  const day = String(date.getUTCDate()).padStart(2);
  const time = date.toISOString().slice(11, 19);
  return `${days[date.getUTCDay()]} ${months[date.getUTCMonth()]} ${day} ${time} ${date.getUTCFullYear()}`;
}

export type ImageInfo = {
  name: string;
  id: string;
  size: number;
  objects: number;
  order: number;
  object_size: number;
  snapshot_count: number;
  data_pool?: string;
  block_name_prefix: string;
  format: 2;
  features: string[];
  op_features: string[];
  flags: string[];
  create_timestamp: string;
  access_timestamp: string;
  modify_timestamp: string;
  /** Only for `image@snap`. */
  protected?: 'true' | 'false';
  /** Where one is set. */
  snapshot_limit?: number;
  /** Of a clone. */
  parent?: ParentInfo & { overlap: number };
  /** The journal is found by the image's own id. */
  journal?: string;
  mirroring?: { mode: 'journal' | 'snapshot'; state: string; global_id: string; primary: boolean };
};

/** What a clone was made from, as it is called now. */
export type ParentInfo = {
  pool: string;
  pool_namespace: string;
  image: string;
  id: string;
  snapshot: string;
  trash: boolean;
};

/** rbd's `info`; with `spec.snap`, of that snapshot. Two reads, three for a clone. ENOENT: no such image or snapshot. */
export async function imageInfo(deps: NameDeps, spec: ImageSpec): Promise<ImageInfo> {
  const { value: header } = await openHeader(deps, spec);
  const info = spec.snap === undefined ? infoOf(header) : infoOf(header, findUserSnapshot(header, spec.snap));
  const parent = await parentInfo(deps, header);
  return parent ? { ...info, parent: { ...parent, overlap: Math.min(header.parent!.overlapBytes, info.size) } } : info;
}

/** One read, of a clone only. */
export async function parentInfo(deps: NameDeps, { parent }: Header): Promise<ParentInfo | undefined> {
  const stored = parent && (await readHeader(deps, parent.imageId));
  if (!stored) return undefined;
  const { pool, namespace, name, imageId, snapshots, trash } = stored.value;
  const snapshot = snapshots.find(({ id }) => id === parent.snapshotId)?.name ?? '';
  return { pool, pool_namespace: namespace, image: name, id: imageId, snapshot, trash: trash !== undefined };
}

/** ENOENT unless the image has a user snapshot of that name; mirror snapshots cannot be named, as in rbd. */
export function findUserSnapshot(header: Header, name: string): Snapshot {
  const snapshot = userSnapshots(header).find((one) => one.name === name);
  if (!snapshot) throw new FarsideError('ENOENT', `snapshot ${name} of image ${header.name} does not exist`);
  return snapshot;
}

/** A snapshot by its name, or (mirror snapshots too, as rbd's `--snap-id`) by its id. */
export type SnapshotRef = { name: string } | { id: number };

/** ENOENT. Snapshots in the trash count as removed, and a copy under way has no content yet. */
export function findSnapshot(header: Header, ref: SnapshotRef): Snapshot {
  if ('name' in ref) return findUserSnapshot(header, ref.name);
  const snapshot = header.snapshots.find(({ id, namespace }) => id === ref.id && namespace.type !== 'trash');
  const isComplete = snapshot?.namespace.type !== 'mirror' || snapshot.namespace.complete;
  if (snapshot && isComplete) return snapshot;
  throw new FarsideError('ENOENT', `snapshot id ${ref.id} of image ${header.name} does not exist`);
}

export function infoOf(header: Header, snapshot?: Snapshot): ImageInfo {
  const sizeBytes = snapshot?.sizeBytes ?? header.sizeBytes;
  return {
    name: header.name,
    id: header.imageId,
    size: sizeBytes,
    objects: Math.ceil(sizeBytes / header.objectBytes),
    order: Math.log2(header.objectBytes),
    object_size: header.objectBytes,
    snapshot_count: shownSnapshots(header).length,
    ...(header.dataPool === undefined ? {} : { data_pool: header.dataPool }),
    block_name_prefix: `rbd_data.${header.imageId}`,
    format: 2,
    features: shownFeatures(header),
    op_features: operationFeatures(header),
    flags: [],
    create_timestamp: timestampText(header.createdAtMs),
    access_timestamp: timestampText(header.modifiedAtMs),
    modify_timestamp: timestampText(header.modifiedAtMs),
    ...(header.features.includes('journaling') ? { journal: header.imageId } : {}),
    ...(snapshot ? { protected: snapshot.protected ? 'true' : 'false' } : {}),
    ...(header.snapshotLimit === undefined ? {} : { snapshot_limit: header.snapshotLimit }),
    ...mirroringOf(header),
  };
}

/** rbd's words for what clones add to an image that older clients do not know. */
const operationFeatures = (header: Header): string[] => [
  ...(childrenOf(header).some(({ cloneFormat }) => cloneFormat === 2) ? ['clone-parent'] : []),
  ...(header.parent?.cloneFormat === 2 ? ['clone-child'] : []),
  ...(trashSnapshots(header).length > 0 ? ['snap-trash'] : []),
];

function shownFeatures(header: Header): string[] {
  const plain = header.features.filter((feature) => feature !== 'non-primary');
  const features = operationFeatures(header).length > 0 ? [...plain, 'operations'] : plain;
  // In journal mode rbd has no such feature: there the journal says it.
  return isNonPrimary(header) && header.mirror?.mode !== 'journal' ? [...features, 'non-primary'] : features;
}

function mirroringOf(header: Header): Pick<ImageInfo, 'mirroring'> {
  if (!header.mirror) return {};
  const { mode, state, globalId } = header.mirror;
  return { mirroring: { mode, state, global_id: globalId, primary: !isNonPrimary(header) } };
}

/** One row of `ls -l`: an image, or (with `snapshot`) one of its user snapshots. */
export type ImageListing = {
  image: string;
  id: string;
  snapshot?: string;
  snapshot_id?: number;
  size: number;
  format: 2;
  protected?: 'true' | 'false';
  parent?: ParentInfo;
  /** As `lock ls` says. */
  lock_type?: LockType;
};

export function imageListing(header: Header, parent?: ParentInfo): ImageListing[] {
  const image = { image: header.name, id: header.imageId };
  const ofParent = parent ? { parent } : {};
  const snapshots = userSnapshots(header).map((snapshot): ImageListing => ({
    ...image,
    snapshot: snapshot.name,
    snapshot_id: snapshot.id,
    size: snapshot.sizeBytes,
    ...ofParent,
    format: 2,
    protected: snapshot.protected ? 'true' : 'false',
  }));
  const lock = lockOf(header);
  return [
    { ...image, size: header.sizeBytes, ...ofParent, format: 2, ...(lock && { lock_type: lock.type }) },
    ...snapshots,
  ];
}
