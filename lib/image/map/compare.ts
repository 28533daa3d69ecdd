// Owns finding what differs between an image and new content, block by block, so that an update uploads the difference
// only. Blocks are compared by hash where the map has them whole; the rest is read and compared in units of 4 KiB.

import { hash128, isZero } from '../format/digest.ts';
import type { Root } from '../header.ts';
import { leaves, rootRef } from './map.ts';
import { sectorBytes, type Extent } from '../format/node.ts';
import type { Pack } from '../packs/pack-store.ts';
import { loadWindow, type ByteSpan } from './read.ts';
import { zeroUnitBytes, type ImageWriter } from './write.ts';

/** New content of a span; without `data`, zeros. */
export type NewSpan = ByteSpan & { data?: Uint8Array };

type Placed = { offset: number; length: number; pack: Pack; entry: number; skipBytes: number };

/** Writes what differs into `writer`. Requests: the map's leaves, each pack's index once, and the blocks whose hash differs. */
export async function compareBlocks(
  writer: ImageWriter,
  root: Root | null,
  objectBytes: number,
  span: NewSpan,
): Promise<void> {
  const end = span.offset + span.length;
  if (!root) return span.data && (await writer.write(span.offset, span.data));
  let at = span.offset;
  for await (const { leaf, extents } of leaves(
    writer.store,
    rootRef(root),
    Math.floor(span.offset / objectBytes),
    Math.ceil(end / objectBytes),
  )) {
    const start = Math.max(at, leaf * objectBytes);
    const stop = Math.min(end, (leaf + 1) * objectBytes);
    if (start > at && span.data) await writer.write(at, slice(span, at, start));
    await compareLeaf(writer, place(extents, leaf * objectBytes), span, start, stop);
    at = stop;
  }
  if (at < end && span.data) await writer.write(at, slice(span, at, end));
}

const slice = (span: NewSpan, start: number, end: number): Uint8Array =>
  span.data!.subarray(start - span.offset, end - span.offset);

const place = (extents: readonly Extent<Pack>[], base: number): Placed[] =>
  extents.map(({ sector, sectors, pack, entry, skip }) => ({
    offset: base + sector * sectorBytes,
    length: sectors * sectorBytes,
    pack,
    entry,
    skipBytes: skip * sectorBytes,
  }));

async function compareLeaf(
  writer: ImageWriter,
  placed: readonly Placed[],
  span: NewSpan,
  start: number,
  end: number,
): Promise<void> {
  if (!span.data) return await zeroExtents(writer, placed, start, end);
  const differing: { start: number; end: number; old: Placed[] }[] = [];
  let next = 0;
  for (let at = start; at < end;) {
    const stop = Math.min(end, (Math.floor(at / writer.blockBytes) + 1) * writer.blockBytes);
    while (next < placed.length && placed[next]!.offset + placed[next]!.length <= at) next++;
    const old: Placed[] = [];
    for (let i = next; i < placed.length && placed[i]!.offset < stop; i++) old.push(placed[i]!);
    if (!(await equalByHash(writer, old, slice(span, at, stop), at))) differing.push({ start: at, end: stop, old });
    at = stop;
  }
  await writeDifferences(writer, span, differing);
}

async function zeroExtents(writer: ImageWriter, placed: readonly Placed[], start: number, end: number): Promise<void> {
  for (const { offset, length } of placed) {
    const from = Math.max(offset, start);
    const to = Math.min(offset + length, end);
    if (from < to) await writer.zero(from, to - from);
  }
}

/** True when the block certainly is what the image has. False also when only reading can tell. */
async function equalByHash(
  writer: ImageWriter,
  old: readonly Placed[],
  data: Uint8Array,
  offset: number,
): Promise<boolean> {
  let at = offset;
  for (const extent of old) {
    if (extent.skipBytes !== 0 || extent.offset < at || extent.offset + extent.length > offset + data.length)
      return false;
    if (!isZero(data.subarray(at - offset, extent.offset - offset))) return false;
    const entry = (await writer.store.index(extent.pack)).entry(extent.entry);
    if (entry.rawBytes !== extent.length) return false;
    at = extent.offset + extent.length;
    if (!hash128(data.subarray(extent.offset - offset, at - offset)).equals(entry.hash)) return false;
  }
  return isZero(data.subarray(at - offset));
}

async function writeDifferences(
  writer: ImageWriter,
  span: NewSpan,
  differing: readonly { start: number; end: number; old: Placed[] }[],
): Promise<void> {
  const pieces = await loadWindow(writer.store, [...new Set(differing.flatMap(({ old }) => old))]);
  let next = 0;
  for (const { start, end } of differing) {
    const before = Buffer.alloc(end - start);
    while (next < pieces.length && pieces[next]!.offset + pieces[next]!.data.length <= start) next++;
    for (let i = next; i < pieces.length && pieces[i]!.offset < end; i++) paint(before, start, pieces[i]!);
    await writeBlock(writer, start, before, slice(span, start, end));
  }
}

function paint(block: Buffer, start: number, piece: { offset: number; data: Uint8Array }): void {
  const from = Math.max(piece.offset, start);
  const to = Math.min(piece.offset + piece.data.length, start + block.length);
  block.set(piece.data.subarray(from - piece.offset, to - piece.offset), from - start);
}

/** Writes the runs of changed units; a block that changed for the most part is written whole. */
async function writeBlock(writer: ImageWriter, offset: number, before: Buffer, data: Uint8Array): Promise<void> {
  const runs = changedRuns(before, data);
  const changedBytes = runs.reduce((sum, run) => sum + run.end - run.start, 0);
  if (changedBytes * 2 > data.length) return await writer.write(offset, data);
  for (const run of runs) await writer.write(offset + run.start, data.subarray(run.start, run.end));
}

function changedRuns(before: Buffer, data: Uint8Array): { start: number; end: number }[] {
  const runs: { start: number; end: number }[] = [];
  for (let start = 0; start < data.length; start += zeroUnitBytes) {
    const end = Math.min(start + zeroUnitBytes, data.length);
    if (before.compare(data, start, end, start, end) === 0) continue;
    const last = runs.at(-1);
    if (last?.end === start) last.end = end;
    else runs.push({ start, end });
  }
  return runs;
}
