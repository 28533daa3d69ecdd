// Owns reading: everything that leaves here was verified against its hash. Holds one image's packs; caches indexes and
// map nodes (both immutable in meaning) within `cacheBytes`. Block data is not cached.
//
// Collection may replace a stored copy by a sparser one at any time. So ranges are read with If-Match, and a changed
// object makes us read its index again:
//
//   reader                                   collector
//   reads index of pack P (tag 1)
//                                            stores P without dead entries (tag 2)
//   reads a range, If-Match tag 1 → changed
//   reads the index again (tag 2), then the range

import { LRUCache } from 'lru-cache';
import type { Bucket } from '../bucket/bucket.ts';
import type { Etag } from '../bucket/driver.ts';
import { keyText } from '../bucket/keys.ts';
import { FarsideError } from '../errors.ts';
import { decodeEntry } from './codec.ts';
import type { Settings } from './deps.ts';
import type { ImageId } from './ids.ts';
import { decodeNode, sectorBytes, type Node, type PackRef } from './node.ts';
import { encoding, entryKind, indexBytes, parsePackIndex, type EntryKind, type PackIndex } from './pack.ts';

/** A concrete pack, as the map names it. */
export type Pack = Exclude<PackRef, 'self'>;

type Opened = { index: PackIndex; etag: Etag };

/** A pack no larger than this is read whole at once: one request instead of two. */
const wholeBytesMax = 256 * 1024;
/** Map nodes around a wanted one are read with it, up to this many bytes. */
const nodeWindowBytes = 1024 * 1024;
/** Two wanted ranges with a gap no larger than this are read as one. */
const gapBytesMax = 64 * 1024;
/** How often a pack may shrink under one read before we call it a fault. */
const rereadsMax = 5;

export class PackStore {
  readonly #bucket: Bucket;
  readonly #imageId: ImageId;
  readonly #label: string;
  readonly #leafSectors: number;
  readonly #indexes: LRUCache<string, Opened>;
  readonly #nodes: LRUCache<string, Uint8Array>;
  readonly #loading = new Map<string, Promise<Opened>>();

  /** @param label how messages name the image, as `pool/image`. */
  constructor(
    bucket: Bucket,
    imageId: ImageId,
    label: string,
    objectBytes: number,
    settings: Pick<Settings, 'cacheBytes'>,
  ) {
    this.#bucket = bucket;
    this.#imageId = imageId;
    this.#label = label;
    this.#leafSectors = objectBytes / sectorBytes;
    const maxSize = Math.max(1, Math.floor(settings.cacheBytes / 2));
    this.#indexes = new LRUCache({ maxSize, sizeCalculation: (opened) => opened.index.weightBytes });
    this.#nodes = new LRUCache({ maxSize, sizeCalculation: (raw) => raw.length + 100 });
  }

  /** The index of a pack, from the cache or by one ranged read. ENOENT-like damage: EBADMSG naming image and pack. */
  async index(pack: Pack): Promise<PackIndex> {
    return (await this.#open(pack)).index;
  }

  /** The map node at (pack, entry), its pack references made concrete. `level` is what the reference to it promises. */
  async node(pack: Pack, entryIndex: number, level: number): Promise<Node<Pack>> {
    const key = `${pack.packId}/${entryIndex}`;
    let raw = this.#nodes.get(key);
    if (raw === undefined) raw = await this.#loadNode(pack, entryIndex);
    try {
      const node = decodeNode(raw, this.#leafSectors);
      // Taken for another level it would read as holes.
      if (node.level !== level) throw new FarsideError('EBADMSG', `its level is ${node.level}, not ${level}`);
      return concrete(node, pack);
    } catch (cause) {
      throw this.#damaged(pack, `map node ${entryIndex}`, cause);
    }
  }

  /**
   * Raw bytes of entries of one kind, by entry number. Reads ranges that lie close together at once.
   * Memory: the encoded and raw bytes of everything asked for.
   */
  async readEntries(pack: Pack, entryIndexes: Iterable<number>, kind: EntryKind): Promise<Map<number, Uint8Array>> {
    const wanted = [...new Set(entryIndexes)].toSorted((a, b) => a - b);
    for (let tries = 0; tries < rereadsMax; tries++) {
      const opened = await this.#open(pack);
      for (const entryIndex of wanted) {
        if (opened.index.entry(entryIndex).kind !== kind)
          throw this.#damaged(pack, `entry ${entryIndex}`, 'it is not of the kind that the map says');
      }
      const found = await this.#readOnce(pack, opened, wanted);
      if (found) return found;
      this.#indexes.delete(pack.packId);
    }
    throw new FarsideError('EAGAIN', `${this.#label}: pack ${pack.packId} keeps changing while it is read; try again`, {
      retry: 'later',
    });
  }

  async #loadNode(pack: Pack, entryIndex: number): Promise<Uint8Array> {
    const found = await this.readEntries(pack, nodeWindow(await this.index(pack), entryIndex), entryKind.node);
    for (const [at, raw] of found) this.#nodes.set(`${pack.packId}/${at}`, raw);
    return found.get(entryIndex)!;
  }

  async #readOnce(pack: Pack, opened: Opened, wanted: number[]): Promise<Map<number, Uint8Array> | undefined> {
    const found = new Map<number, Uint8Array>();
    for (const run of coalesce(opened.index, wanted)) {
      const data = run.length === 0 ? new Uint8Array() : await this.#range(pack, opened, run);
      if (!data) return undefined;
      for (const entryIndex of run.entries)
        found.set(entryIndex, this.#verify(pack, opened.index, entryIndex, data, run.offset));
    }
    return found;
  }

  async #range(pack: Pack, opened: Opened, run: { offset: number; length: number }): Promise<Uint8Array | undefined> {
    const outcome = await this.#bucket.get(this.#key(pack), { range: run, ifMatch: opened.etag });
    if (outcome.status === 'found') return outcome.body;
    if (outcome.status === 'changed') return undefined;
    throw this.#missing(pack);
  }

  #verify(pack: Pack, index: PackIndex, entryIndex: number, data: Uint8Array, offset: number): Uint8Array {
    const entry = index.entry(entryIndex);
    const what =
      entry.kind === entryKind.block
        ? `block at image offset ${entry.imageOffset}`
        : `map node for image offset ${entry.imageOffset}`;
    if (!index.isPresent(entryIndex)) throw this.#damaged(pack, what, 'this copy of the pack lacks it');
    const at = index.range(entryIndex).offset - offset;
    try {
      return decodeEntry(
        entry,
        entry.encoding === encoding.zero ? new Uint8Array() : data.subarray(at, at + entry.encodedBytes),
      );
    } catch (cause) {
      throw this.#damaged(pack, what, cause);
    }
  }

  async #open(pack: Pack): Promise<Opened> {
    const opened = this.#indexes.get(pack.packId) ?? (await this.#loadOnce(pack));
    const { entryCount, packBytes } = opened.index;
    if (entryCount !== pack.entryCount || packBytes !== pack.packBytes) {
      throw this.#damaged(
        pack,
        'index',
        `it has ${entryCount} entries and ${packBytes} bytes, the map says ${pack.entryCount} and ${pack.packBytes}`,
      );
    }
    return opened;
  }

  #loadOnce(pack: Pack): Promise<Opened> {
    let loading = this.#loading.get(pack.packId);
    if (!loading) {
      loading = this.#loadIndex(pack).finally(() => this.#loading.delete(pack.packId));
      this.#loading.set(pack.packId, loading);
    }
    return loading;
  }

  async #loadIndex(pack: Pack): Promise<Opened> {
    const length =
      pack.packBytes <= wholeBytesMax
        ? Math.max(pack.packBytes, indexBytes(pack.entryCount))
        : indexBytes(pack.entryCount);
    const outcome = await this.#bucket.get(this.#key(pack), { range: { offset: 0, length } });
    if (outcome.status !== 'found') throw this.#missing(pack);
    try {
      const opened = { index: parsePackIndex(outcome.body, pack.packId), etag: outcome.meta.etag };
      this.#indexes.set(pack.packId, opened);
      this.#keepNodes(pack, opened.index, outcome.body);
      return opened;
    } catch (cause) {
      throw this.#damaged(pack, 'index', cause);
    }
  }

  /** A small pack came whole with its index: keep its map nodes. Damage is reported when the node is asked for. */
  #keepNodes(pack: Pack, index: PackIndex, body: Uint8Array): void {
    if (body.length < index.storedBytes) return;
    for (let i = 0; i < index.entryCount; i++) {
      const entry = index.entry(i);
      if (entry.kind !== entryKind.node || !index.isPresent(i)) continue;
      const { offset, length } = index.range(i);
      try {
        this.#nodes.set(`${pack.packId}/${i}`, decodeEntry(entry, body.subarray(offset, offset + length)));
      } catch {
        continue;
      }
    }
  }

  #key(pack: Pack): string {
    return keyText({ kind: 'pack', imageId: this.#imageId, packId: pack.packId });
  }

  #missing(pack: Pack): FarsideError {
    return new FarsideError(
      'EBADMSG',
      `image ${this.#label}: pack ${pack.packId} is missing from the bucket; restore the object or resync the image from its peer`,
    );
  }

  #damaged(pack: Pack, what: string, cause: unknown): FarsideError {
    const why = cause instanceof Error ? cause.message : String(cause);
    return new FarsideError(
      'EBADMSG',
      `image ${this.#label}: ${what} in pack ${pack.packId} cannot be trusted: ${why}; restore the object or resync the image from its peer`,
      {
        cause,
      },
    );
  }
}

type Run = { offset: number; length: number; entries: number[] };

/** Groups ascending entries into ranges of the stored copy. */
function coalesce(index: PackIndex, wanted: readonly number[]): Run[] {
  const runs: Run[] = [];
  for (const entryIndex of wanted) {
    index.entry(entryIndex);
    const { offset, length } = index.range(entryIndex);
    const run = runs.at(-1);
    if (run && offset - (run.offset + run.length) <= gapBytesMax) {
      run.length = Math.max(run.length, offset + length - run.offset);
      run.entries.push(entryIndex);
    } else {
      runs.push({ offset, length, entries: [entryIndex] });
    }
  }
  return runs;
}

/** Entries to read with a wanted node: its present neighbours, mostly the following ones, as walks go upwards. */
function nodeWindow(index: PackIndex, entryIndex: number): number[] {
  const isNode = (i: number): boolean => index.isPresent(i) && index.entry(i).kind === entryKind.node;
  const entries = [entryIndex];
  let bytes = index.entry(entryIndex).encodedBytes;
  for (let i = entryIndex + 1; i < index.entryCount && isNode(i) && bytes < nodeWindowBytes; i++) {
    entries.push(i);
    bytes += index.entry(i).encodedBytes;
  }
  for (let i = entryIndex - 1; i >= 0 && isNode(i) && bytes < nodeWindowBytes; i--) {
    entries.push(i);
    bytes += index.entry(i).encodedBytes;
  }
  return entries;
}

function concrete(node: Node, holder: Pack): Node<Pack> {
  const resolve = (pack: PackRef): Pack => (pack === 'self' ? holder : pack);
  return {
    level: node.level,
    extents: node.extents.map((extent) => ({ ...extent, pack: resolve(extent.pack) })),
    children: node.children.map((child) => ({ ...child, pack: resolve(child.pack) })),
  };
}
