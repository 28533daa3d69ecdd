// Owns turning writes into packs and a new map root: cuts blocks, drops zeros, compresses, packs, uploads, rewrites the
// map. Nothing of it is visible until somebody puts the root that `finish` answers into the header.
//
// Memory: packs on their way (`transfersMax` + 2) and up to `pendingExtentsMax` extents waiting to go into the map.

import { assert } from '../../errors.ts';
import { inlineCodec, type Codec, type RawBlock } from '../packs/bulk-codec.ts';
import { encodeEntry, type Compression } from '../format/codec.ts';
import { isZero } from '../format/digest.ts';
import type { ImageDeps } from '../deps.ts';
import type { Root } from '../header.ts';
import type { WrittenPacks } from '../collect/condemned.ts';
import { parseImageId } from '../ids.ts';
import {
  cut,
  overlay,
  rewrite,
  rootHash,
  rootRef,
  truncate,
  type LeafChange,
  type NodeRef,
  type NodeSink,
  type WritePack,
} from './map.ts';
import { encodeNode, sectorBytes, type Extent, type Node } from '../format/node.ts';
import { entryKind, type NewEntry } from '../format/pack.ts';
import { openStore, type Pack, type PackStore, type StoredImage } from '../packs/pack-store.ts';
import { readRange, type ByteSpan } from './read.ts';
import { OpenPack } from '../packs/open-pack.ts';
import { packSizeBytes, PackWriter, type UploadStats } from '../packs/pack-writer.ts';

/** Zeros at the ends of a block are left out in units of this. */
export const zeroUnitBytes = 4096;
/** Extents that wait to go into the map; beyond it an intermediate map is written. */
const pendingExtentsMax = 1 << 16;
/** Estimates, used only to decide whether a commit fits into one pack. */
const nodeBytesPerExtent = 12;
const nodeBytesPerLeaf = 2048;

/** `root`: what is written over; what it reaches may be in the packs of the image's parent. */
export type WriteTarget = { image: StoredImage; root: Root | null };
export type WriteOptions = { compression: Compression; resume: boolean };

/** Without `raw`, a hole. */
export type Block = { offset: number; length: number; raw?: Uint8Array };
type Placed = { pack: WritePack; entry: number; skip: number };
type Change = { sector: number; sectors: number; data?: Placed };

export class ImageWriter {
  readonly #deps: ImageDeps;
  readonly #target: WriteTarget;
  readonly #compression: Compression;
  readonly #codec: Codec;
  readonly #packs: PackWriter;
  readonly #pending = new Map<number, Change[]>();
  readonly #leafSectors: number;
  #pendingExtents = 0;
  #placing: Promise<void> = Promise.resolve();
  #blocks: OpenPack;
  #nodes: OpenPack;
  #root: NodeRef | undefined;
  #cutSector: number | undefined;
  readonly store: PackStore;

  constructor(deps: ImageDeps, target: WriteTarget, options: WriteOptions) {
    this.#deps = deps;
    this.#target = target;
    this.#compression = options.compression;
    this.#codec = deps.codec ?? inlineCodec;
    this.#packs = new PackWriter({
      bucket: deps.bucket,
      imageId: parseImageId(target.image.imageId),
      settings: deps.settings,
      resume: options.resume,
    });
    this.#blocks = this.#packs.open();
    this.#nodes = this.#packs.open();
    this.#leafSectors = target.image.objectBytes / sectorBytes;
    this.#root = target.root ? rootRef(target.root) : undefined;
    this.store = openStore(deps, target.image);
  }

  /** Every pack that this writer made, also those that were there already. */
  get written(): WrittenPacks {
    return this.#packs.written;
  }

  get stats(): UploadStats {
    return this.#packs.stats;
  }

  /** The largest block of this image, bytes. Blocks do not cross multiples of it. */
  get blockBytes(): number {
    return Math.min(this.#deps.settings.blockBytes, this.#target.image.objectBytes);
  }

  /**
   * Writes whole sectors; zeros become holes. Resolves when the data were copied into packs: until then they must not change.
   * Calls may overlap and count in the order in which they were made: several at once keep every thread of the codec busy.
   */
  async write(offset: number, data: Uint8Array): Promise<void> {
    assert(offset % sectorBytes === 0 && data.length % sectorBytes === 0, 'a write is not aligned to sectors');
    const blocks: Block[] = [];
    for (let at = 0; at < data.length;) {
      const length = Math.min(this.blockBytes - ((offset + at) % this.blockBytes), data.length - at);
      blocks.push(...cutBlock(offset + at, data.subarray(at, at + length)));
      at += length;
    }
    const encoding = this.#encode(blocks);
    encoding.catch(() => {}); // thrown when its turn comes to be placed
    await this.#place(async () => {
      const encoded = (await encoding)[Symbol.iterator]();
      for (const { offset: start, length, raw } of blocks) {
        await this.#placeBlock(start, length, raw && encoded.next().value);
      }
    });
  }

  /** Makes whole sectors read as zeros, at no cost of data. */
  async zero(offset: number, length: number): Promise<void> {
    assert(offset % sectorBytes === 0 && length % sectorBytes === 0, 'a discard is not aligned to sectors');
    const objectBytes = this.#target.image.objectBytes;
    await this.#place(async () => {
      for (let at = offset; at < offset + length;) {
        const end = Math.min(offset + length, (Math.floor(at / objectBytes) + 1) * objectBytes);
        await this.#change(at, end - at);
        at = end;
      }
    });
  }

  /** Makes whole sectors read as what is stored already: a block that begins `offset`, or a part of one. */
  async refer(offset: number, length: number, data: { pack: Pack; entry: number; skip: number }): Promise<void> {
    await this.#place(() => this.#change(offset, length, data));
  }

  /** Drops everything from `sizeBytes` on (a multiple of a sector) when the image is finished. */
  truncate(sizeBytes: number): void {
    assert(sizeBytes % sectorBytes === 0, 'a truncation is not aligned to sectors');
    this.#cutSector = sizeBytes / sectorBytes;
  }

  /** Writes an intermediate map: its root reads as everything written so far. Writing goes on. */
  async checkpoint(): Promise<Root | null> {
    await this.#placing;
    if (this.#pending.size > 0) await this.#foldEarly();
    return this.#root ? await this.#rootOf(this.#root) : null;
  }

  /** Uploads what is left and answers the new root; null when the map holds no data. Every pack it reaches is durable then. */
  async finish(): Promise<Root | null> {
    await this.#placing;
    const made = this.#cutSector === undefined ? await this.#foldLast() : await this.#cut(this.#cutSector);
    await this.#closeOpen();
    await this.#packs.drain();
    return made ? await this.#rootOf(made) : null;
  }

  /** A small commit is one pack: its map nodes go behind its blocks. */
  async #foldLast(): Promise<NodeRef<WritePack> | undefined> {
    if (!this.#fitsInOnePack()) await this.#closeBlocks();
    return await this.#fold(this.#blocks.entryCount > 0 ? this.#blocks : this.#nodes);
  }

  async #cut(sector: number): Promise<NodeRef<WritePack> | undefined> {
    if (this.#pending.size > 0) await this.#foldEarly();
    return await truncate(this.store, this.#root, sector, this.#leafSectors, this.#sink(this.#nodes));
  }

  #encode(blocks: readonly Block[]): Promise<NewEntry[]> {
    const raws = blocks.flatMap(({ offset, raw }): RawBlock[] => (raw ? [{ imageOffset: offset, raw }] : []));
    return raws.length === 0 ? Promise.resolve([]) : this.#codec.encode(raws, this.#compression);
  }

  /** Runs `work` after all that was placed before, so that packs depend on the order of writes only. */
  #place(work: () => Promise<void>): Promise<void> {
    const placed = this.#placing.then(work);
    placed.catch(() => {}); // every later write, and `finish`, throws it
    this.#placing = placed;
    return placed;
  }

  async #placeBlock(offset: number, length: number, encoded: NewEntry | undefined): Promise<void> {
    if (!encoded) return await this.#change(offset, length);
    const entry = this.#blocks.add(encoded);
    await this.#change(offset, length, { pack: this.#blocks, entry, skip: 0 });
    if (this.#blocks.payloadBytes >= this.#packs.packBytesMax) await this.#closeBlocks();
  }

  async #change(offset: number, length: number, data?: Placed): Promise<void> {
    if (!data && !this.#root && !this.#pending.has(Math.floor(offset / this.#target.image.objectBytes))) return;
    const leaf = Math.floor(offset / this.#target.image.objectBytes);
    const sector = (offset - leaf * this.#target.image.objectBytes) / sectorBytes;
    const changes = this.#pending.get(leaf);
    const change: Change = { sector, sectors: length / sectorBytes, ...(data && { data }) };
    if (changes) changes.push(change);
    else this.#pending.set(leaf, [change]);
    if (++this.#pendingExtents >= pendingExtentsMax) await this.#foldEarly();
  }

  /** Writes an intermediate map, so that memory stays bounded however long the write is. */
  async #foldEarly(): Promise<void> {
    await this.#closeBlocks();
    const made = await this.#fold(this.#nodes);
    await this.#closeOpen();
    await this.#packs.drain();
    this.#root = made && { ...made, pack: settled(made.pack) };
  }

  async #fold(first: OpenPack): Promise<NodeRef<WritePack> | undefined> {
    const changes: LeafChange[] = [...this.#pending.keys()]
      .toSorted((a, b) => a - b)
      .map((leaf) => ({ leaf, extents: (old) => this.#applied(old, this.#pending.get(leaf)!) }));
    const made = await rewrite(this.store, this.#root, changes, this.#sink(first));
    this.#pending.clear();
    this.#pendingExtents = 0;
    return made;
  }

  #applied(old: Extent<WritePack>[], changes: readonly Change[]): Extent<WritePack>[] {
    let extents = old;
    for (const { sector, sectors, data } of changes) {
      extents = data ? overlay(extents, { sector, sectors, ...data }) : cut(extents, sector, sector + sectors);
    }
    return extents;
  }

  #sink(first: OpenPack): NodeSink {
    const sink = { open: first };
    return (node, firstLeaf) => this.#addNode(sink, node, firstLeaf);
  }

  async #addNode(
    sink: { open: OpenPack },
    node: Node<WritePack>,
    firstLeaf: number,
  ): Promise<{ pack: WritePack; entry: number }> {
    if (sink.open.payloadBytes >= this.#packs.packBytesMax) {
      await this.#packs.close(sink.open);
      if (sink.open === this.#blocks) this.#blocks = this.#packs.open();
      this.#nodes = this.#packs.open();
      sink.open = this.#nodes;
    }
    const pack = sink.open;
    const named = <T extends { pack: WritePack }>(item: T) => ({
      ...item,
      pack: item.pack === pack ? ('self' as const) : settled(item.pack),
    });
    const raw = encodeNode({ level: node.level, extents: node.extents.map(named), children: node.children.map(named) });
    const entry = pack.add(encodeEntry(entryKind.node, firstLeaf * this.#target.image.objectBytes, raw, 'none'));
    return { pack, entry };
  }

  #fitsInOnePack(): boolean {
    const nodeBytes = this.#pendingExtents * nodeBytesPerExtent + this.#pending.size * nodeBytesPerLeaf;
    const entryCount = this.#blocks.entryCount + this.#pending.size;
    return (
      this.#blocks.entryCount > 0 &&
      packSizeBytes(entryCount, this.#blocks.payloadBytes + nodeBytes) <= this.#packs.packBytesMax
    );
  }

  async #closeBlocks(): Promise<void> {
    if (this.#blocks.entryCount === 0) return;
    await this.#packs.close(this.#blocks);
    this.#blocks = this.#packs.open();
  }

  async #closeOpen(): Promise<void> {
    await this.#closeBlocks();
    if (this.#nodes.entryCount === 0) return;
    await this.#packs.close(this.#nodes);
    this.#nodes = this.#packs.open();
  }

  async #rootOf(made: NodeRef<WritePack>): Promise<Root> {
    const pack = settled(made.pack);
    return {
      pack: pack.packId,
      entry: made.entry,
      entryCount: pack.entryCount,
      packBytes: pack.packBytes,
      level: made.level,
      hash: rootHash(pack, made.entry),
      usedBytes: made.usedSectors * sectorBytes,
    };
  }
}

function settled(pack: WritePack): Exclude<WritePack, OpenPack> {
  const closed = pack instanceof OpenPack ? pack.closed : pack;
  assert(closed, 'a map node refers to a pack whose id is not settled');
  return closed;
}

/** A block as it is stored: zeros at its ends are holes. */
export function cutBlock(offset: number, data: Uint8Array): Block[] {
  if (isZero(data)) return [{ offset, length: data.length }];
  const { start, end } = withoutZeroEnds(data);
  const blocks: Block[] = [{ offset: offset + start, length: end - start, raw: data.subarray(start, end) }];
  if (start > 0) blocks.unshift({ offset, length: start });
  if (end < data.length) blocks.push({ offset: offset + end, length: data.length - end });
  return blocks;
}

function withoutZeroEnds(data: Uint8Array): { start: number; end: number } {
  let start = 0;
  while (start + zeroUnitBytes <= data.length && isZero(data.subarray(start, start + zeroUnitBytes)))
    start += zeroUnitBytes;
  let end = data.length;
  while (end - zeroUnitBytes > start && isZero(data.subarray(end - zeroUnitBytes, end))) end -= zeroUnitBytes;
  return { start, end };
}

export type Truncated = { root: Root | null; written: WrittenPacks };

/**
 * The root of an image cut at `sizeBytes` (any number of bytes): a few new nodes along one path, whatever the image's size.
 * Bytes between the new end and the end of its sector are made zero, so that growing again shows zeros.
 */
export async function truncateRoot(
  deps: ImageDeps,
  image: StoredImage,
  root: Root | null,
  sizeBytes: number,
): Promise<Truncated> {
  if (!root) return { root, written: new Map() };
  const tailBytes = sizeBytes % sectorBytes;
  const writer = new ImageWriter(deps, { image, root }, { compression: 'none', resume: false });
  const tail =
    tailBytes === 0
      ? undefined
      : await readTail(writer.store, root, image.objectBytes, { offset: sizeBytes - tailBytes, length: tailBytes });
  writer.truncate(sizeBytes - tailBytes);
  const shorter = await writer.finish();
  if (!tail) return { root: shorter, written: writer.written };
  const tailWriter = new ImageWriter(deps, { image, root: shorter }, { compression: 'none', resume: false });
  await tailWriter.write(sizeBytes - tailBytes, tail);
  return { root: await tailWriter.finish(), written: new Map([...writer.written, ...tailWriter.written]) };
}

/** The bytes of `span`, which begins a sector, with zeros behind them; undefined when they are zeros too. */
async function readTail(
  store: PackStore,
  root: Root,
  objectBytes: number,
  span: ByteSpan,
): Promise<Uint8Array | undefined> {
  const sector = new Uint8Array(sectorBytes);
  sector.set(await readRange(store, root, objectBytes, span));
  return isZero(sector) ? undefined : sector;
}
