// Owns changing content by ranges of bytes, of any length and at any offset, on top of a root: what a diff stream asks for.
// Ranges count in the order in which they come; ascending ones are cheapest. What is written again as it was costs no data.
//
// The map knows sectors of 512 bytes. A range that begins or ends within one is completed from what is there: from the root,
// or, where this very patch wrote already, from an intermediate map.

import { assert } from '../../errors.ts';
import { inlineCodec, type Codec } from '../packs/bulk-codec.ts';
import type { WrittenPacks } from '../collect/condemned.ts';
import { compareBlocks } from './compare.ts';
import type { ImageDeps } from '../deps.ts';
import type { Header, Root } from '../header.ts';
import { sectorBytes } from '../format/node.ts';
import type { StoredImage } from '../packs/pack-store.ts';
import { readRange } from './read.ts';
import { ImageWriter, type WriteOptions } from './write.ts';

/** Bytes gathered before they go to the writer. Spans are cut at multiples of it, so that blocks stay whole. */
const spanBytes = 4 * 1024 * 1024;
/** Spans on their way into packs, where nothing has to be compared. */
const spansMax = 3;
/** A longer range of zeros is looked up in the map instead of being written object by object. */
const zeroBytesMax = 1024 * 1024 * 1024;

/** What is changed: an image's head, or what is to become one. */
export type PatchTarget = StoredImage & Pick<Header, 'root' | 'sizeBytes'>;
export type Patched = { root: Root | null; written: WrittenPacks };

/** Adjacent bytes, from a multiple of a sector on. */
type Span = { offset: number; room: Buffer; length: number };

export class Patch {
  readonly #writer: ImageWriter;
  readonly #target: PatchTarget;
  readonly #codec: Codec;
  /** What was written before the range below. */
  #root: Root | null;
  /** The range that was written since `#root`; all of it may differ from what `#root` says. */
  #touched: { start: number; end: number } | undefined;
  #span: Span | undefined;
  readonly #writing: Promise<void>[] = [];
  readonly #rooms: Buffer[] = [];

  constructor(deps: ImageDeps, target: PatchTarget, options: WriteOptions) {
    this.#writer = new ImageWriter(deps, { image: target, root: target.root }, options);
    this.#target = target;
    this.#codec = deps.codec ?? inlineCodec;
    this.#root = target.root;
  }

  /** Bytes at `offset`; they may change when this has resolved. */
  async write(offset: number, data: Uint8Array): Promise<void> {
    for (let taken = 0; taken < data.length;) {
      const at = offset + taken;
      const span = await this.#spanAt(at);
      const room = spanEnd(span) - at;
      const part = data.subarray(taken, taken + room);
      span.room.set(part, span.length);
      span.length += part.length;
      taken += part.length;
      if (span.offset + span.length === spanEnd(span)) await this.#flush();
    }
  }

  async zero(offset: number, length: number): Promise<void> {
    const end = offset + length;
    const first = Math.min(end, roundUp(offset));
    const last = Math.max(first, roundDown(end));
    await this.write(offset, new Uint8Array(first - offset));
    if (last > first) {
      await this.#flush();
      await this.#settle();
      if (last - first > zeroBytesMax && overlaps(this.#touched, first, last)) await this.#checkpoint();
      await this.#apply(first, last - first);
    }
    await this.write(last, new Uint8Array(end - last));
  }

  /** The root of the content at its new size. Nothing is visible until somebody puts it into a header. */
  async finish(sizeBytes: number): Promise<Patched> {
    if (sizeBytes < this.#target.sizeBytes) {
      // Growing again must show zeros.
      await this.write(sizeBytes, new Uint8Array(roundUp(sizeBytes) - sizeBytes));
      this.#writer.truncate(roundUp(sizeBytes));
    }
    await this.#flush();
    await this.#settle();
    return { root: await this.#writer.finish(), written: this.#writer.written };
  }

  /** The span that goes on at `offset`: the one at hand, with the gap filled when it lies within a sector, or a new one. */
  async #spanAt(offset: number): Promise<Span> {
    const span = this.#span;
    const end = span ? span.offset + span.length : 0;
    if (span && offset >= end && offset <= roundUp(end) && offset < spanEnd(span)) {
      if (offset > end) await this.#fill(span, offset);
      return span;
    }
    await this.#flush();
    const start = roundDown(offset);
    const begun: Span = { offset: start, room: this.#rooms.pop() ?? this.#codec.room(spanBytes), length: 0 };
    if (offset > start) await this.#fill(begun, offset);
    this.#span = begun;
    return begun;
  }

  /** Completes a span, within one sector, up to `end` with what is there. */
  async #fill(span: Span, end: number): Promise<void> {
    const start = span.offset + span.length;
    assert(end - roundDown(start) <= sectorBytes, 'a patch fills more than a sector');
    const sector = await this.#current(roundDown(start));
    span.room.set(sector.subarray(start % sectorBytes, end - roundDown(start)), span.length);
    span.length += end - start;
  }

  /** What a sector holds now. */
  async #current(offset: number): Promise<Uint8Array> {
    await this.#settle();
    if (overlaps(this.#touched, offset, offset + sectorBytes)) await this.#checkpoint();
    return await readRange(this.#writer.store, this.#root, this.#target.objectBytes, { offset, length: sectorBytes });
  }

  async #checkpoint(): Promise<void> {
    this.#root = await this.#writer.checkpoint();
    this.#touched = undefined;
  }

  /** Hands the span to the writer, while the next one is gathered. */
  async #flush(): Promise<void> {
    const span = this.#span;
    if (!span) return;
    const end = roundUp(span.offset + span.length);
    if (end > span.offset + span.length) await this.#fill(span, end);
    this.#span = undefined;
    // Spans that are compared first go one by one, so that they reach the writer in their order.
    await this.#settle(this.#root ? 0 : spansMax - 1);
    const writing = this.#apply(span.offset, span.length, span.room.subarray(0, span.length)).then(() => {
      this.#rooms.push(span.room);
    });
    writing.catch(() => {}); // thrown when it is waited for
    this.#writing.push(writing);
  }

  /** Waits until no more than so many spans are on their way. */
  async #settle(left = 0): Promise<void> {
    while (this.#writing.length > left) await this.#writing.shift();
  }

  /** Whole sectors; without data, zeros. Where this patch wrote already, the old root says nothing. */
  async #apply(offset: number, length: number, data?: Uint8Array): Promise<void> {
    const repeated = overlaps(this.#touched, offset, offset + length);
    this.#touched = {
      start: Math.min(offset, this.#touched?.start ?? offset),
      end: Math.max(offset + length, this.#touched?.end ?? 0),
    };
    if (!repeated) {
      const span = { offset, length, ...(data && { data }) };
      await compareBlocks(this.#writer, this.#root, this.#target.objectBytes, span);
    } else if (data) await this.#writer.write(offset, data);
    else await this.#writer.zero(offset, length);
  }
}

const roundDown = (offset: number): number => offset - (offset % sectorBytes);
const roundUp = (offset: number): number => Math.ceil(offset / sectorBytes) * sectorBytes;
/** Where a span must be handed on. */
const spanEnd = (span: Span): number => (Math.floor(span.offset / spanBytes) + 1) * spanBytes;
const overlaps = (range: { start: number; end: number } | undefined, start: number, end: number): boolean =>
  range !== undefined && start < range.end && end > range.start;
