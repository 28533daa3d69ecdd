// Owns a content that is only read, as a disk: a snapshot, or a head as it was when it was opened. It holds nothing open: nobody is
// kept from writing the image or from removing the snapshot. What collection removed meanwhile (which is not before the grace
// time) can then not be read any more, and reads fail.
//
// Memory: `cacheBytes`, and what is read at the moment.

import { FarsideError } from '../errors.ts';
import type { Root } from '../image/header.ts';
import type { PackStore } from '../image/packs/pack-store.ts';
import { merged, type Extent } from './extents.ts';
import { mapExtents } from './map-extents.ts';
import { ReadAhead } from './read-ahead.ts';
import { ReadCache, readAheadBytesOf, type BlockStore, type CacheLimits } from './read-cache.ts';
import { ReadRooms } from './read-rooms.ts';

export type Content = { store: PackStore; root: Root | null; sizeBytes: number; objectBytes: number };

export class ReadOnlyImage {
  readonly sizeBytes: number;
  readonly #content: Content;
  readonly #cache: ReadCache;
  readonly #ahead: ReadAhead;

  constructor(content: Content, limits: CacheLimits, disk?: BlockStore) {
    this.sizeBytes = content.sizeBytes;
    this.#content = content;
    this.#cache = new ReadCache(content.store, content.objectBytes, limits, { memory: new ReadRooms(), disk });
    this.#ahead = new ReadAhead(readAheadBytesOf(limits), (span) => this.#cache.loadRange(content.root, span));
  }

  /** Fills `target`. EINVAL: beyond the end. EBADMSG: what is stored is damaged. */
  async readInto(offset: number, target: Uint8Array): Promise<void> {
    const span = { offset, length: target.length };
    this.#checkSpan(offset, target.length);
    this.#ahead.told(span);
    await this.#cache.readInto(target, this.#content.root, span);
  }

  /** Which parts of a range hold data; covers a prefix of it, at least one extent. */
  async extents(offset: number, length: number): Promise<Extent[]> {
    this.#checkSpan(offset, length);
    const { found, endOffset } = await mapExtents(this.#cache.store, this.#content, { offset, length });
    const data = found.map((span) => ({ ...span, hole: false }));
    return merged(data, offset, Math.min(offset + length, endOffset));
  }

  #checkSpan(offset: number, length: number): void {
    if (offset + length > this.sizeBytes)
      throw new FarsideError(
        'EINVAL',
        `bytes ${offset} to ${offset + length} lie beyond the image's ${this.sizeBytes}`,
      );
  }
}
