// Owns the container of export format 2 (docs/streams.md): an image's properties, then one diff stream (v2) per snapshot and one
// for the head, each from the one before it.
//
//   `rbd image v2\n`, records (tag, length u64, fields), `E`
//   `rbd image diffs v2\n`, number of streams (u64), the streams

import type { ByteSource } from './byte-source.ts';
import { damaged } from './diff-format.ts';
import { integerField, readBanner, readBits, readByte, readInteger, readText, textField } from './fields.ts';
import { FarsideError } from '../errors.ts';

export type ImageProperties = {
  /** log2 of the object size. */
  order: number;
  /** Ceph's feature bits. */
  features: bigint;
  stripeUnitBytes: number;
  stripeCount: number;
  meta: [key: string, value: string][];
};

/** Properties that a stream does not tell are undefined. */
export type FoundProperties = Partial<ImageProperties> & Pick<ImageProperties, 'meta'>;

const imageBanner = 'rbd image v2\n';
const diffsBanner = 'rbd image diffs v2\n';
const tags = { order: 'O', features: 'T', stripeUnit: 'U', stripeCount: 'C', meta: 'M', end: 'E' } as const;
const keyBytesMax = 4096;
const valueBytesMax = 1024 * 1024;
/** Of all metadata of an image, each with something on top. */
const metaBytesMax = 4 * 1024 * 1024;
const metaOverheadBytes = 100;

/** @throws EINVAL no such container; EFBIG too much metadata */
export async function readProperties(source: ByteSource): Promise<FoundProperties> {
  await readBanner(source, [imageBanner]);
  const found: FoundProperties = { meta: [] };
  let metaBytes = 0;
  for (;;) {
    const tag = String.fromCharCode(await readByte(source));
    if (tag === tags.end) return found;
    const declared = await readInteger(source, 'length');
    if (tag === tags.order) found.order = await readInteger(source, 'order');
    else if (tag === tags.features) found.features = await readBits(source);
    else if (tag === tags.stripeUnit) found.stripeUnitBytes = await readInteger(source, 'stripe unit');
    else if (tag === tags.stripeCount) found.stripeCount = await readInteger(source, 'stripe count');
    else if (tag === tags.meta) {
      const key = await readText(source, 'a metadata key', keyBytesMax);
      const value = await readText(source, 'a metadata value', valueBytesMax);
      metaBytes += metaOverheadBytes + key.length + value.length;
      if (metaBytes > metaBytesMax) throw new FarsideError('EFBIG', 'the stream has too much image metadata');
      found.meta.push([key, value]);
    } else await source.skip(declared);
  }
}

/** The number of diff streams that follow. @throws EBADMSG none, or more than `countMax` */
export async function readDiffCount(source: ByteSource, countMax: number): Promise<number> {
  await readBanner(source, [diffsBanner]);
  const count = await readInteger(source, 'number of streams');
  if (count >= 1 && count <= countMax) return count;
  throw damaged(`${count} streams, where 1 to ${countMax} can be`, source.positionBytes);
}

export function encodeProperties(properties: ImageProperties): Buffer {
  const record = (tag: string, fields: Buffer): Buffer[] => [Buffer.from(tag), integerField(fields.length), fields];
  return Buffer.concat([
    Buffer.from(imageBanner),
    ...record(tags.order, integerField(properties.order)),
    ...record(tags.features, integerField(properties.features)),
    ...record(tags.stripeUnit, integerField(properties.stripeUnitBytes)),
    ...record(tags.stripeCount, integerField(properties.stripeCount)),
    ...properties.meta.flatMap(([key, value]) => record(tags.meta, Buffer.concat([textField(key), textField(value)]))),
    Buffer.from(tags.end),
  ]);
}

export const encodeDiffCount = (count: number): Buffer =>
  Buffer.concat([Buffer.from(diffsBanner), integerField(count)]);
