// Owns how what was written becomes a segment: neighbours are joined into blocks, zeros become holes, blocks are encoded. What
// was overwritten before is left out, so a segment holds each place once.

import type { Codec, RawBlock } from '../image/packs/bulk-codec.ts';
import type { Compression } from '../image/format/codec.ts';
import type { Rooms } from '../image/packs/open-pack.ts';
import { encodeSegment, type EncodedSegment, type NewChange, type SegmentMeta } from '../image/journal/segment.ts';
import { cutBlock, type Block } from '../image/map/write.ts';
import type { Covered, Layer } from './layer.ts';

/** `rooms`: memory for the segment. */
export type Sealing = { codec: Codec; rooms: Rooms; blockBytes: number; compression: Compression };

export async function sealLayer(layer: Layer, meta: SegmentMeta, options: Sealing): Promise<EncodedSegment> {
  const blocks = joined(layer.all(), options.blockBytes).flatMap(cutOf);
  const raws = blocks.flatMap(({ offset, raw }): RawBlock[] => (raw ? [{ imageOffset: offset, raw }] : []));
  const encoded = raws.length === 0 ? [] : await options.codec.encode(raws, options.compression);
  const entries = encoded.values();
  const changes = blocks.map(({ offset, length, raw }): NewChange => {
    const block = raw && entries.next().value;
    return block ? { offset, length, block } : { offset, length };
  });
  return encodeSegment(meta, changes, options.rooms);
}

/** Ascending: the parts of a hole that a block was found to begin with come before it. */
const cutOf = (block: Block): Block[] =>
  block.raw ? cutBlock(block.offset, block.raw).toSorted((a, b) => a.offset - b.offset) : [block];

type Run = { offset: number; length: number; parts: Covered[] };

/** Data that touch, within one block; holes that touch, however long. */
function joined(extents: readonly Covered[], blockBytes: number): Block[] {
  const runs: Run[] = [];
  for (const extent of extents) {
    for (const part of extent.source === 'hole' ? [extent] : cutAt(extent, blockBytes)) {
      const run = runs.at(-1);
      if (run && continues(run, part, blockBytes)) {
        run.parts.push(part);
        run.length += part.length;
      } else runs.push({ offset: part.offset, length: part.length, parts: [part] });
    }
  }
  return runs.map(({ offset, length, parts }) =>
    parts[0]!.source === 'hole' ? { offset, length } : { offset, length, raw: bytesOf(length, parts) },
  );
}

function continues({ offset, length, parts }: Run, part: Covered, blockBytes: number): boolean {
  const isHole = part.source === 'hole';
  if (offset + length !== part.offset || isHole !== (parts[0]!.source === 'hole')) return false;
  return isHole || Math.floor(part.offset / blockBytes) === Math.floor(offset / blockBytes);
}

function cutAt(extent: Covered, blockBytes: number): Covered[] {
  const parts: Covered[] = [];
  for (let done = 0; done < extent.length;) {
    const offset = extent.offset + done;
    const length = Math.min(blockBytes - (offset % blockBytes), extent.length - done);
    parts.push({ ...extent, offset, length, skipBytes: extent.skipBytes + done });
    done += length;
  }
  return parts;
}

/** In place where the parts lie one behind another in memory, as those of a sequential writer do. */
function bytesOf(length: number, parts: readonly Covered[]): Uint8Array {
  const datas = parts.map(dataOf);
  const first = datas[0]!;
  let end = first.byteOffset;
  const isOne = datas.every((data) => {
    const follows = data.buffer === first.buffer && data.byteOffset === end;
    end += data.length;
    return follows;
  });
  if (isOne) return new Uint8Array(first.buffer, first.byteOffset, length);
  const raw = Buffer.allocUnsafe(length);
  let at = 0;
  for (const data of datas) {
    raw.set(data, at);
    at += data.length;
  }
  return raw;
}

const dataOf = ({ source, skipBytes, length }: Covered): Uint8Array =>
  typeof source === 'object' && 'data' in source
    ? source.data.subarray(skipBytes, skipBytes + length)
    : new Uint8Array(length);
