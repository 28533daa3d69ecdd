// Owns the blocks that an image in use keeps in memory. Blocks are immutable, so nothing here goes stale. A block that is being
// fetched is fetched once, however many wait for it: each gets its part at the moment when the block is there.
//
// Memory: `cacheBytes` of raw blocks, and rooms for what is being fetched, which are used again.

import { assert, FarsideError } from '../errors.ts';
import type { Root } from '../image/header.ts';
import { entryKind } from '../image/format/pack.ts';
import type { Pack, PackStore, ReadMemory } from '../image/packs/pack-store.ts';
import { windows, type ByteSpan, type Located } from '../image/map/read.ts';
import { BlockRing } from './block-ring.ts';
import { allDone } from '../all-done.ts';

/** Blocks that are kept elsewhere than in memory, by the pack's id and the entry. It never fails. */
export interface BlockStore {
  /** Undefined: it is not there, or not whole. */
  get(packId: string, entry: number): Promise<Uint8Array | undefined>;
  /** Takes a copy at once, and keeps it if it can. */
  put(packId: string, entry: number, raw: Uint8Array): void;
}

export type CacheLimits = { cacheBytes: number; readAheadBytes: number };

/** What is read ahead must still be there when it is asked for. */
const aheadShareMax = 1 / 8;

/** How much to read ahead of one reader. */
export const readAheadBytesOf = ({ cacheBytes, readAheadBytes }: CacheLimits): number =>
  Math.min(readAheadBytes, Math.floor(cacheBytes * aheadShareMax));

/** A part of a block, and where it is wanted; nowhere, if the block is only to be kept. */
type Wanted = { part: Located; out?: Uint8Array; base: number; isPlaced?: true; failure?: FarsideError };
type Fetch = { wanted: Wanted[]; done: Promise<void> };
type Group = { pack: Pack; entries: Map<number, Wanted[]> };

export class ReadCache {
  readonly store: PackStore;
  readonly #objectBytes: number;
  readonly #blocks: BlockRing;
  readonly #memory: ReadMemory;
  readonly #disk: BlockStore | undefined;
  /** Of blocks that are not there yet. */
  readonly #fetching = new Map<string, Fetch>();

  constructor(
    store: PackStore,
    objectBytes: number,
    { cacheBytes }: CacheLimits,
    { memory, disk }: { memory: ReadMemory; disk?: BlockStore | undefined },
  ) {
    this.store = store;
    this.#objectBytes = objectBytes;
    this.#blocks = new BlockRing(cacheBytes);
    this.#memory = memory;
    this.#disk = disk;
  }

  /** Fills `out` with what the map holds of a range, and with zeros. */
  async readInto(out: Uint8Array, root: Root | null, { offset, length }: ByteSpan): Promise<void> {
    let at = offset;
    for await (const window of windows(this.store, root, this.#objectBytes, { offset, length })) {
      for (const part of window) {
        out.fill(0, at - offset, part.offset - offset);
        at = part.offset + part.length;
      }
      await this.copy(out, offset, window);
    }
    out.fill(0, at - offset);
  }

  /** Copies parts of blocks to where they belong in `out`, which begins at image offset `base`. Nothing is copied after it has settled. */
  async copy(out: Uint8Array, base: number, parts: readonly Located[]): Promise<void> {
    const missing: Wanted[] = [];
    for (const part of parts) {
      const wanted: Wanted = { part, out, base };
      const raw = this.#blocks.get(blockKey(part.pack, part.entry));
      if (raw) place(wanted, raw);
      else missing.push(wanted);
      if (wanted.failure) throw wanted.failure;
    }
    if (missing.length > 0) await this.#bring(missing);
  }

  /** Keeps what the map holds of a range. */
  async loadRange(root: Root | null, span: ByteSpan): Promise<void> {
    for await (const window of windows(this.store, root, this.#objectBytes, span)) await this.load(window);
  }

  async load(parts: readonly Located[]): Promise<void> {
    const missing = parts.filter(({ pack, entry }) => !this.#blocks.has(blockKey(pack, entry)));
    await this.#bring(missing.map((part) => ({ part, base: 0 })));
  }

  async #bring(wanted: readonly Wanted[]): Promise<void> {
    const waiting = new Set<Promise<void>>();
    const groups = new Map<string, Group>();
    for (const one of wanted) {
      const { pack, entry } = one.part;
      const fetch = this.#fetching.get(blockKey(pack, entry));
      if (fetch) {
        fetch.wanted.push(one);
        waiting.add(fetch.done);
      } else addTo(groups, one);
    }
    for (const group of groups.values()) waiting.add(this.#begin(group));
    await allDone([...waiting]);
    for (const { failure, isPlaced } of wanted) {
      if (failure) throw failure;
      assert(isPlaced, 'a block was read and did not come to where it is wanted');
    }
  }

  /** What a request brings is for those who wait for this very request: one that comes later may be after the same block again. */
  #begin({ pack, entries }: Group): Promise<void> {
    const { promise: done, resolve, reject } = Promise.withResolvers<void>();
    const fetches = new Map([...entries].map(([entry, wanted]): [number, Fetch] => [entry, { wanted, done }]));
    for (const [entry, fetch] of fetches) this.#fetching.set(blockKey(pack, entry), fetch);
    const take = (entry: number, raw: Uint8Array): void => {
      const fetch = fetches.get(entry);
      if (!fetch) return; // it came before: the pack changed meanwhile
      fetches.delete(entry);
      this.#arrived(blockKey(pack, entry), fetch, raw);
    };
    this.#read(pack, [...entries.keys()], take)
      .finally(() => {
        for (const [entry, fetch] of fetches) this.#forget(blockKey(pack, entry), fetch);
      })
      .then(resolve, reject);
    return done;
  }

  async #read(pack: Pack, entries: readonly number[], take: (entry: number, raw: Uint8Array) => void): Promise<void> {
    const entryIndexes = this.#disk ? await takeFrom(this.#disk, pack, entries, take) : entries;
    if (entryIndexes.length === 0) return;
    const keep = (entry: number, _: Uint8Array, raw: Uint8Array): void => {
      this.#disk?.put(pack.packId, entry, raw);
      take(entry, raw);
    };
    await this.store.read(pack, { entryIndexes, kind: entryKind.block, memory: this.#memory, take: keep });
  }

  #arrived(key: string, fetch: Fetch, raw: Uint8Array): void {
    this.#forget(key, fetch);
    this.#blocks.put(key, raw);
    for (const wanted of fetch.wanted) place(wanted, raw);
  }

  #forget(key: string, fetch: Fetch): void {
    if (this.#fetching.get(key) === fetch) this.#fetching.delete(key);
  }
}

/** Gives those that are not there. Each is taken as it comes: together they may be larger than what was asked for of them. */
async function takeFrom(
  disk: BlockStore,
  pack: Pack,
  entries: readonly number[],
  take: (entry: number, raw: Uint8Array) => void,
): Promise<number[]> {
  const missing: number[] = [];
  const takeOne = async (entry: number): Promise<void> => {
    const raw = await disk.get(pack.packId, entry);
    if (raw) take(entry, raw);
    else missing.push(entry);
  };
  await Promise.all(entries.map(takeOne));
  return missing;
}

const blockKey = (pack: Pack, entry: number): string => `${pack.packId}/${entry}`;

function addTo(groups: Map<string, Group>, wanted: Wanted): void {
  const { pack, entry } = wanted.part;
  const group = groups.get(pack.packId) ?? { pack, entries: new Map<number, Wanted[]>() };
  groups.set(pack.packId, group);
  const same = group.entries.get(entry);
  if (same) same.push(wanted);
  else group.entries.set(entry, [wanted]);
}

/** What is wrong is the failure of whoever wanted it, not of the block. */
function place(wanted: Wanted, raw: Uint8Array): void {
  const { part, out, base } = wanted;
  const { offset, length, pack, skipBytes } = part;
  wanted.isPlaced = true;
  if (skipBytes + length > raw.length) {
    wanted.failure = new FarsideError(
      'EBADMSG',
      `the map asks for more of the block at image offset ${offset} than pack ${pack.packId} holds`,
    );
  } else out?.set(raw.subarray(skipBytes, skipBytes + length), offset - base);
}
