// Owns the memory of a read cache: blocks lie one behind another in segments that are filled in turn and used again, the oldest first.
// So the cache is never larger than it may be, whatever the sizes of blocks, and no block keeps a larger buffer alive. Blocks that were
// asked for since they came stay when their segment is used again: up to half of it.

import { blockBytesMax } from '../image/format/pack.ts';

const segmentBytesMax = 1024 * 1024;
/** With fewer, what is asked for often would not live long enough to be seen to. */
const segmentCountMin = 8;

type Place = { segment: Segment; start: number; length: number; isHot: boolean };
type Segment = { memory: Buffer; keys: string[]; filledBytes: number };

export class BlockRing {
  readonly #segmentBytes: number;
  readonly #segmentCountMax: number;
  readonly #segments: Segment[] = [];
  readonly #places = new Map<string, Place>();
  #current = 0;

  constructor(bytesMax: number) {
    this.#segmentBytes = Math.min(segmentBytesMax, Math.max(blockBytesMax, Math.ceil(bytesMax / segmentCountMin)));
    this.#segmentCountMax = Math.floor(bytesMax / this.#segmentBytes);
  }

  /** To be used at once: the next `put` may write over it. */
  get(key: string): Uint8Array | undefined {
    const place = this.#places.get(key);
    if (!place) return undefined;
    place.isHot = true;
    return place.segment.memory.subarray(place.start, place.start + place.length);
  }

  has(key: string): boolean {
    return this.#places.has(key);
  }

  /** Copies the block. One that is larger than a segment is not kept. */
  put(key: string, raw: Uint8Array): void {
    if (raw.length > this.#segmentBytes || this.#segmentCountMax === 0 || this.#places.has(key)) return;
    const segment = this.#roomFor(raw.length);
    segment.memory.set(raw, segment.filledBytes);
    this.#places.set(key, { segment, start: segment.filledBytes, length: raw.length, isHot: false });
    segment.keys.push(key);
    segment.filledBytes += raw.length;
  }

  #roomFor(byteCount: number): Segment {
    for (let segment = this.#segments[this.#current]; ; segment = this.#next()) {
      if (segment && segment.filledBytes + byteCount <= this.#segmentBytes) return segment;
    }
  }

  #next(): Segment {
    if (this.#segments.length < this.#segmentCountMax) {
      this.#current = this.#segments.length;
      const added = { memory: Buffer.allocUnsafeSlow(this.#segmentBytes), keys: [], filledBytes: 0 };
      this.#segments.push(added);
      return added;
    }
    this.#current = (this.#current + 1) % this.#segments.length;
    const oldest = this.#segments[this.#current]!;
    this.#empty(oldest);
    return oldest;
  }

  /** Blocks ascend in their segment, so those that stay can move to its front one after another. */
  #empty(segment: Segment): void {
    const { keys } = segment;
    segment.keys = [];
    segment.filledBytes = 0;
    for (const key of keys) {
      const place = this.#places.get(key)!;
      const end = segment.filledBytes + place.length;
      if (!place.isHot || end > this.#segmentBytes / 2) this.#places.delete(key);
      else {
        segment.memory.copyWithin(segment.filledBytes, place.start, place.start + place.length);
        place.start = segment.filledBytes;
        place.isHot = false;
        segment.keys.push(key);
        segment.filledBytes = end;
      }
    }
  }
}
