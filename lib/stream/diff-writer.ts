// Owns the bytes of a diff stream's records. Pure. The data of a `write` are the caller's to send behind it.

import { diffBanners, diffTags, type DiffRecord, type DiffTag, type DiffVersion } from './diff-format.ts';
import { integerField, textField } from './fields.ts';

export const diffBanner = (version: DiffVersion): Buffer => Buffer.from(diffBanners[version]);

export const diffEnd: Buffer = Buffer.from(diffTags.end);

export function encodeRecord(version: DiffVersion, record: DiffRecord): Buffer {
  const fields = fieldsOf(record);
  const tag = Buffer.from(diffTags[record.type satisfies DiffTag]);
  if (version === 1) return Buffer.concat([tag, fields]);
  const declared = fields.length + (record.type === 'write' ? record.length : 0);
  return Buffer.concat([tag, integerField(declared), fields]);
}

function fieldsOf(record: DiffRecord): Buffer {
  switch (record.type) {
    case 'from':
    case 'to':
      return textField(record.name);
    case 'protected':
      return Buffer.of(record.isProtected ? 1 : 0);
    case 'size':
      return integerField(record.sizeBytes);
    case 'write':
    case 'zero':
      return Buffer.concat([integerField(record.offset), integerField(record.length)]);
  }
}

export type DiffHeadToWrite = {
  from?: string | undefined;
  to?: string | undefined;
  /** Told in v2 only, of a stream that ends at a snapshot. */
  isProtected?: boolean;
  sizeBytes: number;
};

/** Banner and header records, in rbd's order. */
export function encodeHead(version: DiffVersion, head: DiffHeadToWrite): Buffer {
  const records: DiffRecord[] = [];
  if (head.from !== undefined) records.push({ type: 'from', name: head.from });
  if (head.to !== undefined) records.push({ type: 'to', name: head.to });
  if (head.to !== undefined && version === 2)
    records.push({ type: 'protected', isProtected: head.isProtected ?? false });
  records.push({ type: 'size', sizeBytes: head.sizeBytes });
  return Buffer.concat([diffBanner(version), ...records.map((record) => encodeRecord(version, record))]);
}
