// The recorded streams of a real rbd (test/fixtures), and a decoder of its own: it shares nothing with lib/stream.

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { constants, zstdDecompressSync } from 'node:zlib';

const folder = join(import.meta.dirname, '../fixtures/rbd-diff');

/** As in the manifest: tag, (v2: declared length,) fields; of data, the first 16 digits of the SHA-256. */
export type FlatRecord = readonly (string | number)[];
export type Recorded = { file: string; bytes: number; sha256: string; records: (FlatRecord | FlatRecord[])[] };
type Manifest = { snapshots: Record<string, { size: number; sha256: string }>; streams: Recorded[] };

export const manifest = JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8')) as Manifest;

const all = zstdDecompressSync(readFileSync(join(folder, 'streams.zst')), {
  params: { [constants.ZSTD_d_windowLogMax]: 27 },
});

const streams = new Map<string, Buffer>();
for (let at = 0, index = 0; index < manifest.streams.length; index++) {
  const { file, bytes } = manifest.streams[index]!;
  streams.set(file, all.subarray(at, at + bytes));
  at += bytes;
}

export const recorded = (file: string): Buffer => streams.get(file)!;
export const recordsOf = (file: string): Recorded['records'] =>
  manifest.streams.find((stream) => stream.file === file)!.records;

export const sha256 = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex');

/** A record, and where its data lie in the stream. */
export type Decoded = { record: FlatRecord; data?: Buffer };

/** A whole diff stream in memory, and how many bytes it takes. */
export function decodeDiff(stream: Buffer): { records: Decoded[]; bytes: number } {
  const version = stream.toString('latin1', 0, 12) === 'rbd diff v2\n' ? 2 : 1;
  const records: Decoded[] = [];
  let at = 12;
  const u64 = (): number => Number(stream.readBigUInt64LE((at += 8) - 8));
  for (;;) {
    const tag = stream.toString('latin1', at, ++at);
    if (tag === 'e') return { records: [...records, { record: ['e'] }], bytes: at };
    const declared = version === 2 ? [u64()] : [];
    if (tag === 'f' || tag === 't') {
      const length = stream.readUInt32LE(at);
      at += 4 + length;
      records.push({ record: [tag, ...declared, stream.toString('utf8', at - length, at)] });
    } else if (tag === 'p') records.push({ record: [tag, ...declared, stream.toString('hex', at, ++at)] });
    else if (tag === 's') records.push({ record: [tag, ...declared, u64()] });
    else {
      const [offset, length] = [u64(), u64()];
      if (tag === 'z') records.push({ record: [tag, ...declared, offset, length] });
      else {
        const data = stream.subarray(at, (at += length));
        records.push({ record: [tag, ...declared, offset, length, sha256(data).slice(0, 16)], data });
      }
    }
  }
}

/** What a stream makes of an image. */
export function applied(image: Buffer, records: readonly Decoded[]): Buffer {
  let content = image;
  for (const { record, data } of records) {
    const fields = record.slice(1).filter((field): field is number => typeof field === 'number');
    if (record[0] === 's') {
      const resized = Buffer.alloc(fields.at(-1)!);
      content.copy(resized, 0, 0, resized.length);
      content = resized;
    }
    if (record[0] === 'w') content.set(data!, fields.at(-2));
    if (record[0] === 'z') content.fill(0, fields.at(-2), fields.at(-2)! + fields.at(-1)!);
  }
  return content;
}

/** The parts of an export in format 2: header bytes up to its end, and the diffs. */
export function decodeContainer(stream: Buffer): { header: Buffer; diffs: Decoded[][] } {
  const banner = Buffer.from('rbd image diffs v2\n');
  const headerBytes = stream.indexOf(banner);
  let at = headerBytes + banner.length;
  const count = Number(stream.readBigUInt64LE(at));
  at += 8;
  const diffs: Decoded[][] = [];
  for (let index = 0; index < count; index++) {
    const { records, bytes } = decodeDiff(stream.subarray(at));
    diffs.push(records);
    at += bytes;
  }
  return { header: stream.subarray(0, headerBytes), diffs };
}
