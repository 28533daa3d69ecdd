// Owns reading image data through the map: verified, in order, with several windows fetched ahead. Holes are told, not
// filled. Memory: `windowsAhead` windows of at most `windowBytes` of raw data each, plus what their packs' ranges carry.

import type { Root } from '../header.ts';
import { leaves, rootRef } from './map.ts';
import { sectorBytes, type Extent } from '../format/node.ts';
import { entryKind } from '../format/pack.ts';
import type { Pack, PackStore } from '../packs/pack-store.ts';
import { FarsideError } from '../../errors.ts';

export type ByteSpan = { offset: number; length: number };
export type Piece = { offset: number; data: Uint8Array } | { offset: number; hole: number };

/** Raw bytes fetched as one unit. */
const windowBytes = 4 * 1024 * 1024;
const windowsAheadDefault = 4;

/** A part of the image that lies in one block. `skipBytes`: from the block's start. */
export type Located = { offset: number; length: number; pack: Pack; entry: number; skipBytes: number };

/**
 * The image's content in `span`, ascending and without gaps: data pieces (one per extent) and holes.
 * Throws EBADMSG, naming image, offset and pack, at the first byte that cannot be verified.
 */
export async function* readExtents(
  store: PackStore,
  root: Root | null,
  objectBytes: number,
  span: ByteSpan,
  windowsAhead = windowsAheadDefault,
): AsyncGenerator<Piece> {
  const end = span.offset + span.length;
  let at = span.offset;
  for await (const pieces of fetched(store, windows(store, root, objectBytes, span), windowsAhead)) {
    for (const piece of pieces) {
      if (piece.offset > at) yield { offset: at, hole: piece.offset - at };
      yield piece;
      at = piece.offset + piece.data.length;
    }
  }
  if (at < end) yield { offset: at, hole: end - at };
}

/** The content of a short span in one buffer, holes as zeros. */
export async function readRange(
  store: PackStore,
  root: Root | null,
  objectBytes: number,
  span: ByteSpan,
): Promise<Uint8Array> {
  const out = Buffer.alloc(span.length);
  for await (const piece of readExtents(store, root, objectBytes, span)) {
    if ('data' in piece) out.set(piece.data, piece.offset - span.offset);
  }
  return out;
}

/**
 * The data in several short spans (ascending), what lies together fetched at once. Holes are left out.
 * Memory: all of it.
 */
export async function readSpans(
  store: PackStore,
  root: Root | null,
  objectBytes: number,
  spans: readonly ByteSpan[],
): Promise<DataPiece[]> {
  const located: Located[] = [];
  for (const span of spans) for await (const window of windows(store, root, objectBytes, span)) located.push(...window);
  return await loadWindow(store, located);
}

/** Groups of consecutive extents, each of about `windowBytes`: what is not among them is holes. */
export async function* windows(
  store: PackStore,
  root: Root | null,
  objectBytes: number,
  span: ByteSpan,
): AsyncGenerator<Located[]> {
  const end = span.offset + span.length;
  let window: Located[] = [];
  let bytes = 0;
  if (!root || span.length === 0) return;
  for await (const { leaf, extents } of leaves(
    store,
    rootRef(root),
    Math.floor(span.offset / objectBytes),
    Math.ceil(end / objectBytes),
  )) {
    for (const extent of extents) {
      const located = clip(locate(extent, leaf * objectBytes), span.offset, end);
      if (!located) continue;
      window.push(located);
      bytes += located.length;
      if (bytes < windowBytes) continue;
      yield window;
      window = [];
      bytes = 0;
    }
  }
  if (window.length > 0) yield window;
}

const locate = (extent: Extent<Pack>, base: number): Located => ({
  offset: base + extent.sector * sectorBytes,
  length: extent.sectors * sectorBytes,
  pack: extent.pack,
  entry: extent.entry,
  skipBytes: extent.skip * sectorBytes,
});

function clip(located: Located, start: number, end: number): Located | undefined {
  const from = Math.max(located.offset, start);
  const to = Math.min(located.offset + located.length, end);
  if (from >= to) return undefined;
  return { ...located, offset: from, length: to - from, skipBytes: located.skipBytes + from - located.offset };
}

export type DataPiece = { offset: number; data: Uint8Array };

const fetched = (
  store: PackStore,
  source: AsyncGenerator<Located[]>,
  windowsAhead: number,
): AsyncGenerator<DataPiece[]> => ahead(source, (window) => loadWindow(store, window), windowsAhead);

/** Does the work for several items at once and answers in their order. */
export async function* ahead<T, R>(
  source: AsyncIterable<T>,
  work: (item: T) => Promise<R>,
  itemsMax: number,
): AsyncGenerator<R> {
  const working: Promise<R>[] = [];
  try {
    for await (const item of source) {
      const result = work(item);
      result.catch(() => {}); // a failure is thrown in its turn below; until then it must not count as unhandled
      working.push(result);
      if (working.length >= itemsMax) yield await working.shift()!;
    }
    while (working.length > 0) yield await working.shift()!;
  } finally {
    await Promise.allSettled(working);
  }
}

/** Fetches one window: every pack's entries in one call each. */
export async function loadWindow(store: PackStore, window: readonly Located[]): Promise<DataPiece[]> {
  const byPack = new Map<string, { pack: Pack; entries: Set<number> }>();
  for (const { pack, entry } of window) {
    const group = byPack.get(pack.packId) ?? { pack, entries: new Set<number>() };
    group.entries.add(entry);
    byPack.set(pack.packId, group);
  }
  const loaded = new Map<string, Map<number, Uint8Array>>();
  await Promise.all(
    [...byPack.values()].map(async ({ pack, entries }) => {
      loaded.set(pack.packId, await store.readEntries(pack, entries, entryKind.block));
    }),
  );
  return window.map(({ offset, length, pack, entry, skipBytes }) => {
    const raw = loaded.get(pack.packId)!.get(entry)!;
    if (skipBytes + length > raw.length) {
      throw new FarsideError(
        'EBADMSG',
        `the map asks for more of the block at image offset ${offset} than pack ${pack.packId} holds`,
      );
    }
    return { offset, data: raw.subarray(skipBytes, skipBytes + length) };
  });
}
