// Owns the blocks that an image in use keeps in memory, and reading ahead. Blocks are immutable, so nothing here goes stale.
//
// Memory: `cacheBytes` of raw blocks, and what is being fetched: the ranges asked for and one read-ahead.

import { LRUCache } from 'lru-cache';

import { FarsideError } from '../errors.ts';
import type { Root } from '../image/header.ts';
import { entryKind } from '../image/pack.ts';
import type { Pack, PackStore } from '../image/pack-store.ts';
import { windows, type ByteSpan, type Located } from '../image/read.ts';

type Wanted = { pack: Pack; entry: number };
export type CacheLimits = { cacheBytes: number; readAheadBytes: number };

export class ReadCache {
  readonly store: PackStore;
  readonly #objectBytes: number;
  readonly #limits: CacheLimits;
  readonly #blocks: LRUCache<string, Uint8Array>;
  readonly #fetching = new Map<string, Promise<Map<number, Uint8Array>>>();
  #sequentialEnd = -1;
  #aheadEnd = 0;

  constructor(store: PackStore, objectBytes: number, limits: CacheLimits) {
    this.store = store;
    this.#objectBytes = objectBytes;
    this.#limits = limits;
    this.#blocks = new LRUCache({ maxSize: Math.max(1, limits.cacheBytes), sizeCalculation: (raw) => raw.length + 64 });
  }

  /** Copies what the map holds of a range into `out`, whose other bytes stay as they are. */
  async readInto(out: Uint8Array, root: Root | null, span: ByteSpan): Promise<void> {
    this.#readAhead(root, span);
    for await (const window of windows(this.store, root, this.#objectBytes, span))
      await this.copy(out, span.offset, window);
  }

  /** Copies parts of blocks to where they belong in `out`, which begins at image offset `base`. */
  async copy(out: Uint8Array, base: number, parts: readonly Located[]): Promise<void> {
    const blocks = await this.#load(parts);
    for (const { offset, length, pack, entry, skipBytes } of parts) {
      const raw = blocks.get(blockKey({ pack, entry }));
      if (!raw || skipBytes + length > raw.length) {
        throw new FarsideError(
          'EBADMSG',
          `the map asks for more of the block at image offset ${offset} than pack ${pack.packId} holds`,
        );
      }
      out.set(raw.subarray(skipBytes, skipBytes + length), offset - base);
    }
  }

  async #load(parts: readonly Wanted[]): Promise<Map<string, Uint8Array>> {
    const found = new Map<string, Uint8Array>();
    const missing = new Map<string, { pack: Pack; entries: Set<number> }>();
    for (const { pack, entry } of parts) {
      const key = blockKey({ pack, entry });
      const cached = this.#blocks.get(key);
      if (cached) found.set(key, cached);
      else {
        const group = missing.get(pack.packId) ?? { pack, entries: new Set<number>() };
        missing.set(pack.packId, group);
        group.entries.add(entry);
      }
    }
    await Promise.all([...missing.values()].map(({ pack, entries }) => this.#fetch(pack, entries, found)));
    return found;
  }

  async #fetch(pack: Pack, entries: ReadonlySet<number>, found: Map<string, Uint8Array>): Promise<void> {
    const fresh: number[] = [];
    const waiting = new Set<Promise<Map<number, Uint8Array>>>();
    for (const entry of entries) {
      const fetching = this.#fetching.get(blockKey({ pack, entry }));
      if (fetching) waiting.add(fetching);
      else fresh.push(entry);
    }
    if (fresh.length > 0) waiting.add(this.#begin(pack, fresh));
    for (const blocks of await Promise.all(waiting))
      for (const [entry, raw] of blocks) if (entries.has(entry)) found.set(blockKey({ pack, entry }), raw);
  }

  #begin(pack: Pack, entries: readonly number[]): Promise<Map<number, Uint8Array>> {
    const keys = entries.map((entry) => blockKey({ pack, entry }));
    const fetching = this.store.readEntries(pack, entries, entryKind.block).finally(() => {
      for (const key of keys) this.#fetching.delete(key);
    });
    for (const key of keys) this.#fetching.set(key, fetching);
    return fetching.then((blocks) => {
      for (const [entry, raw] of blocks) this.#blocks.set(blockKey({ pack, entry }), raw);
      return blocks;
    });
  }

  /** A reader that goes on where it stopped gets what follows ahead of asking. A failure shows when it does ask. */
  #readAhead(root: Root | null, { offset, length }: ByteSpan): void {
    const isSequential = offset === this.#sequentialEnd;
    this.#sequentialEnd = offset + length;
    if (!isSequential) this.#aheadEnd = this.#sequentialEnd;
    const { readAheadBytes } = this.#limits;
    if (!isSequential || readAheadBytes === 0 || this.#aheadEnd - this.#sequentialEnd > readAheadBytes / 2) return;
    const from = Math.max(this.#aheadEnd, this.#sequentialEnd);
    this.#aheadEnd = from + readAheadBytes;
    this.#prefetch(root, { offset: from, length: readAheadBytes }).catch(() => {});
  }

  async #prefetch(root: Root | null, span: ByteSpan): Promise<void> {
    for await (const window of windows(this.store, root, this.#objectBytes, span)) await this.#load(window);
  }
}

const blockKey = ({ pack, entry }: Wanted): string => `${pack.packId}/${entry}`;
