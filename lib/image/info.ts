// Owns what is shown of an image: rbd's `info` and `ls -l` JSON. Pure but for reading the header. Fields are only added.
//
// Times are UTC in C's `asctime` form, as rbd prints them (rbd uses the local zone; a site has none).

import { FarsideError } from '../errors.ts';
import { isNonPrimary, openHeader } from './access.ts';
import type { ImageSpec } from './deps.ts';
import { userSnapshots, type Header, type Snapshot } from './header.ts';
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
  mirroring?: { mode: 'journal' | 'snapshot'; state: string; global_id: string; primary: boolean };
};

/** rbd's `info`; with `spec.snap`, of that snapshot. Two reads. ENOENT: no such image or snapshot. */
export async function imageInfo(deps: NameDeps, spec: ImageSpec): Promise<ImageInfo> {
  const { value: header } = await openHeader(deps, spec);
  return spec.snap === undefined ? infoOf(header) : infoOf(header, findUserSnapshot(header, spec.snap));
}

/** ENOENT unless the image has a user snapshot of that name; mirror snapshots cannot be named, as in rbd. */
export function findUserSnapshot(header: Header, name: string): Snapshot {
  const snapshot = userSnapshots(header).find((one) => one.name === name);
  if (!snapshot) throw new FarsideError('ENOENT', `snapshot ${name} of image ${header.name} does not exist`);
  return snapshot;
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
    snapshot_count: header.snapshots.length,
    block_name_prefix: `rbd_data.${header.imageId}`,
    format: 2,
    features: shownFeatures(header),
    op_features: [],
    flags: [],
    create_timestamp: timestampText(header.createdAtMs),
    access_timestamp: timestampText(header.modifiedAtMs),
    modify_timestamp: timestampText(header.modifiedAtMs),
    ...(snapshot ? { protected: snapshot.protected ? 'true' : 'false' } : {}),
    ...mirroringOf(header),
  };
}

function shownFeatures(header: Header): string[] {
  const features = header.features.filter((feature) => feature !== 'non-primary');
  return isNonPrimary(header) ? [...features, 'non-primary'] : features;
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
};

export function imageListing(header: Header): ImageListing[] {
  const image = { image: header.name, id: header.imageId };
  const snapshots = userSnapshots(header).map((snapshot): ImageListing => ({
    ...image,
    snapshot: snapshot.name,
    snapshot_id: snapshot.id,
    size: snapshot.sizeBytes,
    format: 2,
    protected: snapshot.protected ? 'true' : 'false',
  }));
  return [{ ...image, size: header.sizeBytes, format: 2 }, ...snapshots];
}
