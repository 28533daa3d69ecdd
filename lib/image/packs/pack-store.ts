// Owns reading: everything that leaves here was verified against its hash. Holds one image's packs; caches indexes and
// map nodes (both immutable in meaning) within `cacheBytes`. Block data is not cached.
//
// Where copies of a pack are looked for is `PackPlaces`'s to say.
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
import type { Bucket } from '../../bucket/bucket.ts';
import type { Etag } from '../../bucket/driver.ts';
import { FarsideError } from '../../errors.ts';
import { decodeEntry } from '../format/codec.ts';
import type { ImageDeps, Settings } from '../deps.ts';
import { NodeCache } from './node-cache.ts';
import { isFenceSized } from '../format/fence.ts';
import { sectorBytes, type Node, type PackRef } from '../format/node.ts';
import { packSources, type Header, type PacksElsewhere } from '../header.ts';
import { parseImageId } from '../ids.ts';
import { PackPlaces, type PackSources, type Place } from './pack-places.ts';
import { coalesce, nodeWindow, type Run } from './pack-ranges.ts';
import {
  encodeCopy,
  encoding,
  entryKind,
  indexBytes,
  parsePackIndex,
  type EntryKind,
  type PackIndex,
} from '../format/pack.ts';

/** A concrete pack, as the map names it. */
export type Pack = Exclude<PackRef, 'self'>;

/** One stored copy of a pack. */
type Opened = { key: string; index: PackIndex; etag: Etag };

/** Memory that what is read passes through. */
export interface ReadMemory {
  take(byteCount: number): Uint8Array;
  give(room: Uint8Array): void;
}

/**
 * Entries to be read, of one kind if that is known; `take` gets each, perhaps more than once. With `memory`, what it gets is to be
 * used at once.
 */
export type Reading = {
  entryIndexes: Iterable<number>;
  kind?: EntryKind;
  memory?: ReadMemory;
  take: (entryIndex: number, encoded: Uint8Array, raw: Uint8Array) => unknown;
};

/** What a store must know of an image. */
export type StoredImage = Pick<Header, 'imageId' | 'pool' | 'name' | 'objectBytes' | 'journal'> & PacksElsewhere;

/** The way to everything that an image reaches. */
export const openStore = (
  deps: Pick<ImageDeps, 'bucket' | 'settings'>,
  image: StoredImage,
  label = `${image.pool}/${image.name}`,
): PackStore =>
  new PackStore(
    deps.bucket,
    { sources: packSources(image).map(parseImageId), slotsFirst: image.journal !== undefined },
    label,
    image.objectBytes,
    deps.settings,
  );

/** A pack no larger than this is read whole at once: one request instead of two. */
const wholeBytesMax = 256 * 1024;
/** How often a pack may shrink under one read before we call it a fault. */
const rereadsMax = 5;

export class PackStore {
  readonly #bucket: Bucket;
  readonly #places: PackPlaces;
  readonly #label: string;
  /** By source and pack. */
  readonly #indexes: LRUCache<string, Opened>;
  readonly #nodes: NodeCache;
  readonly #loading = new Map<string, Promise<Opened | undefined>>();

  /**
   * @param label how messages name the image, as `pool/image`.
   */
  constructor(
    bucket: Bucket,
    sources: PackSources,
    label: string,
    objectBytes: number,
    settings: Pick<Settings, 'cacheBytes'>,
  ) {
    this.#bucket = bucket;
    this.#places = new PackPlaces(bucket, sources);
    this.#label = label;
    const maxSize = Math.max(1, Math.floor(settings.cacheBytes / 2));
    this.#indexes = new LRUCache({ maxSize, sizeCalculation: (opened) => opened.index.weightBytes });
    this.#nodes = new NodeCache(maxSize, objectBytes / sectorBytes);
  }

  /** The index of some copy of a pack, from the cache or by one ranged read. ENOENT-like damage: EBADMSG naming image and pack. */
  async index(pack: Pack): Promise<PackIndex> {
    let index = await this.#firstIndex(pack);
    if (index) return index;
    this.forget(pack); // what was believed absent may be there by now
    index = await this.#firstIndex(pack);
    if (index) return index;
    throw this.#missing(pack);
  }

  async #firstIndex(pack: Pack, suits = (_: PackIndex): boolean => true): Promise<PackIndex | undefined> {
    for (const place of this.#places.order(pack)) {
      const opened = await this.#open(pack, place);
      if (opened && suits(opened.index)) return opened.index;
    }
    return undefined;
  }

  /** The index of the copy that is stored under `key`, one of the image's own; undefined when there is none. */
  async copyIndex(pack: Pack, key: string): Promise<PackIndex | undefined> {
    return (await this.#open(pack, this.#places.ownAt(key)))?.index;
  }

  /** Whether the image itself has the entry, in one of its own copies of the pack. */
  async ownEntries(pack: Pack): Promise<(entryIndex: number) => boolean> {
    const copies = await Promise.all(this.#places.own(pack).map((place) => this.#open(pack, place)));
    return (entryIndex) => copies.some((copy) => copy?.index.isPresent(entryIndex) === true);
  }

  /** The map node at (pack, entry), its pack references made concrete. `level` is what the reference to it promises. */
  async node(pack: Pack, entryIndex: number, level: number): Promise<Node<Pack>> {
    const decoded = this.#nodes.decoded(pack, entryIndex, level);
    if (decoded) return decoded;
    const raw = this.#nodes.raw(pack, entryIndex) ?? (await this.#loadNode(pack, entryIndex));
    try {
      return this.#nodes.decode(pack, entryIndex, level, raw);
    } catch (cause) {
      throw this.#damaged(pack, `map node ${entryIndex}`, cause);
    }
  }

  /**
   * Raw bytes of entries of one kind, by entry number. Reads ranges that lie close together at once.
   * Memory: the encoded and raw bytes of everything asked for.
   */
  async readEntries(pack: Pack, entryIndexes: Iterable<number>, kind: EntryKind): Promise<Map<number, Uint8Array>> {
    const raws = new Map<number, Uint8Array>();
    await this.read(pack, { entryIndexes, kind, take: (entryIndex, _encoded, raw) => raws.set(entryIndex, raw) });
    return raws;
  }

  /** A copy of the pack with these entries, gathered from wherever they are, each verified. */
  async copyOf(pack: Pack, entryIndexes: Iterable<number>): Promise<Uint8Array> {
    const encodings = new Map<number, Uint8Array>();
    const take = (entryIndex: number, encoded: Uint8Array): unknown => encodings.set(entryIndex, encoded);
    await this.read(pack, { entryIndexes, take });
    return encodeCopy(await this.index(pack), (entryIndex) => encodings.get(entryIndex));
  }

  /** Whether some copy of the pack holds the entry. */
  async has(pack: Pack, entryIndex: number): Promise<boolean> {
    return (await this.#firstIndex(pack, (index) => index.isPresent(entryIndex))) !== undefined;
  }

  /** Reads entries one after another, each verified. */
  async read(pack: Pack, reading: Reading): Promise<void> {
    const wanted = [...new Set(reading.entryIndexes)].toSorted((a, b) => a - b);
    for (let tries = 0; tries < rereadsMax; tries++) {
      if (await this.#readOnce(pack, wanted, reading)) return;
      this.forget(pack);
    }
    throw new FarsideError('EAGAIN', `${this.#label}: pack ${pack.packId} keeps changing while it is read; try again`, {
      retry: 'later',
    });
  }

  async #loadNode(pack: Pack, entryIndex: number): Promise<Uint8Array> {
    const found = await this.readEntries(pack, nodeWindow(await this.index(pack), entryIndex), entryKind.node);
    for (const [at, raw] of found) this.#nodes.put(pack, at, raw);
    return found.get(entryIndex)!;
  }

  /** From the first copy that has each entry. False: a copy has changed, or what was believed absent may be there by now. */
  async #readOnce(pack: Pack, wanted: readonly number[], reading: Reading): Promise<boolean> {
    const believedAbsent = this.#places.believesAbsent;
    let left = wanted;
    let sparse: PackIndex | undefined;
    for (const place of this.#places.order(pack)) {
      const opened = await this.#open(pack, place);
      if (!opened) continue;
      const { index } = opened;
      if (reading.kind !== undefined) this.#assertKind(pack, index, left, reading.kind);
      const here = left.filter((entryIndex) => index.isPresent(entryIndex));
      if (!(await this.#readCopy(pack, opened, here, reading))) return false;
      if (here.length === left.length) return true;
      left = left.filter((entryIndex) => !index.isPresent(entryIndex));
      sparse = index;
    }
    if (believedAbsent) return false;
    if (!sparse) throw this.#missing(pack);
    throw this.#damaged(pack, whatIs(sparse, left[0]!), 'this copy of the pack lacks it');
  }

  #assertKind(pack: Pack, index: PackIndex, wanted: readonly number[], kind: EntryKind): void {
    const other = wanted.find((entryIndex) => index.entry(entryIndex).kind !== kind);
    if (other !== undefined) throw this.#damaged(pack, `entry ${other}`, 'it is not of the kind that the map says');
  }

  /** False when the copy has changed, or is gone. */
  async #readCopy(pack: Pack, opened: Opened, wanted: readonly number[], reading: Reading): Promise<boolean> {
    for (const run of coalesce(opened.index, wanted)) {
      const room = reading.memory?.take(run.length);
      try {
        if (!(await this.#readRun(pack, opened, run, reading, room))) return false;
      } finally {
        if (room) reading.memory?.give(room);
      }
    }
    return true;
  }

  async #readRun(
    pack: Pack,
    { key, etag, index }: Opened,
    run: Run,
    { take }: Reading,
    room: Uint8Array | undefined,
  ): Promise<boolean> {
    const { offset, length } = run;
    const outcome =
      length === 0 ? undefined : await this.#bucket.get(key, { range: { offset, length }, ifMatch: etag, room });
    if (outcome && outcome.status !== 'found') return false;
    const data = outcome?.body ?? new Uint8Array();
    for (const entryIndex of run.entries) {
      const range = index.range(entryIndex);
      const encoded = data.subarray(range.offset - offset, range.offset - offset + range.length);
      take(entryIndex, encoded, this.#verified(pack, index, entryIndex, encoded));
    }
    return true;
  }

  #verified(pack: Pack, index: PackIndex, entryIndex: number, encoded: Uint8Array): Uint8Array {
    const entry = index.entry(entryIndex);
    try {
      return decodeEntry(entry, entry.encoding === encoding.zero ? new Uint8Array() : encoded);
    } catch (cause) {
      throw this.#damaged(pack, whatIs(index, entryIndex), cause);
    }
  }

  /** What is known of the copies of a pack: one of them is known to have changed. */
  forget(pack: Pack): void {
    for (const { key } of this.#places.forget(pack)) this.#indexes.delete(key);
  }

  async #open(pack: Pack, place: Place): Promise<Opened | undefined> {
    if (this.#places.isAbsent(place)) return undefined;
    const opened = this.#indexes.get(place.key) ?? (await this.#loadOnce(pack, place));
    if (!opened) return undefined;
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

  #loadOnce(pack: Pack, place: Place): Promise<Opened | undefined> {
    let loading = this.#loading.get(place.key);
    if (!loading) {
      loading = this.#loadIndex(pack, place).finally(() => this.#loading.delete(place.key));
      this.#loading.set(place.key, loading);
    }
    return loading;
  }

  async #loadIndex(pack: Pack, place: Place): Promise<Opened | undefined> {
    const { key } = place;
    const length =
      pack.packBytes <= wholeBytesMax
        ? Math.max(pack.packBytes, indexBytes(pack.entryCount))
        : indexBytes(pack.entryCount);
    const outcome = await this.#bucket.get(key, { range: { offset: 0, length } });
    // A fence in the slot is no copy.
    const isCopy = outcome.status === 'found' && !isFenceSized(outcome.meta);
    if (!isCopy) return this.#places.noteAbsent(pack, place);
    try {
      const opened = { key, index: parsePackIndex(outcome.body, pack.packId), etag: outcome.meta.etag };
      this.#indexes.set(key, opened);
      this.#places.noteFound(pack, place);
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
        this.#nodes.put(pack, i, decodeEntry(entry, body.subarray(offset, offset + length)));
      } catch {
        continue;
      }
    }
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

function whatIs(index: PackIndex, entryIndex: number): string {
  const { kind, imageOffset } = index.entry(entryIndex);
  return `${kind === entryKind.block ? 'block at' : 'map node for'} image offset ${imageOffset}`;
}
