// Owns the way of what is written into the journal: gathers it in layers, seals them into segments, and puts these into the
// slots of the epoch, one after another (I5, I6).
//
//   open layer      takes writes
//   sealed layers   have their slot number, wait for their turn; the next ones are encoded, at most one is being put
//   durable         in the bucket: `onDurable` takes them over
//
// Group commit: flushes that come while a segment is being put share the next one. Slots are put strictly one after another, so
// that what is durable is always a prefix of what was written, and the first free slot is the epoch's end.
//
//   writer                                 somebody opens a new epoch
//   puts slot 8
//                                          fences slot 9
//   puts slot 9: taken, by a fence: fenced. Everything fails with ESHUTDOWN from now on, also what was waiting.
//
// With a write-ahead log, a segment is durable when the log has it, and the bucket gets it later, in the same order.

import { backOff, faultBackoff } from '../bucket/backoff.ts';
import { assert, FarsideError } from '../errors.ts';
import { inlineCodec } from '../image/packs/bulk-codec.ts';
import type { Compression } from '../image/format/codec.ts';
import type { ImageDeps } from '../image/deps.ts';
import type { EpochId } from '../image/ids.ts';
import { sectorBytes } from '../image/format/node.ts';
import { Rooms } from '../image/packs/open-pack.ts';
import { packBytesMax } from '../image/format/pack.ts';
import type { ByteSpan } from '../image/map/read.ts';
import type { EncodedSegment, SegmentMeta } from '../image/journal/segment.ts';
import { fillSlot, holdsBytes } from '../image/journal/slots.ts';
import { Layer, type Write } from './layer.ts';
import type { AttachLimits } from './limits.ts';
import { Patience } from './patience.ts';
import { sealLayer, type Sealing } from './seal.ts';
import { Pieces, SegmentMemory } from './segment-memory.ts';

/** A log on a local disk that outlives the process. Segments are appended in order; `append` resolves when they are durable there. */
export interface WriteAheadLog {
  append(seq: number, bytes: Uint8Array): Promise<void>;
  /** Everything before `seq` is in the bucket. */
  release(seq: number): Promise<void>;
}

export type JournalWriterOptions = {
  imageId: string;
  epoch: EpochId;
  /** The first free slot, and the requests before it in this epoch. */
  seq: number;
  entry: number;
  objectBytes: number;
  blockBytes: number;
  compression: Compression;
  limits: AttachLimits;
  wal?: WriteAheadLog | undefined;
  /** The bucket refuses what was written: told now and then, while it is tried on. */
  onRefused?: ((refusal: FarsideError) => void) | undefined;
  /** Takes over a segment that is in the bucket, in order. */
  onDurable: (sealed: EncodedSegment) => void;
};

/** Requests in one segment: bounds what says where they belong. */
const segmentEntriesMax = 16_384;

/** Segments that are encoded, or about to be: the one that is being put, and the next. */
const encodedMax = 2;

const refusalToldEveryMs = 60_000;

type Waiting = {
  layer: Layer;
  memory: SegmentMemory;
  upTo: number;
  seq: number;
  meta: SegmentMeta;
  sealing?: Promise<EncodedSegment>;
};

export class JournalWriter {
  readonly patience: Patience;
  readonly #deps: ImageDeps;
  readonly #options: JournalWriterOptions;
  readonly #sealing: Sealing;
  readonly #pieces: Pieces;
  #open: Layer;
  #openMemory: SegmentMemory;
  #openEntries = 0;
  #openSinceMs: number | undefined;
  #sealed: Waiting[] = [];
  #sealedBytes = 0;
  #seq: number;
  #entry: number;
  /** Requests taken, and those of them that are durable in the log, or in the bucket. */
  #taken = 0;
  #logged = 0;
  #stored = 0;
  #wanted = 0;
  #isPumping = false;
  #logging: Promise<void> = Promise.resolve();
  #changed: (() => void)[] = [];
  #failure: FarsideError | undefined;
  #isStopped = false;
  /** Since when the bucket says that this writer may not write. */
  #refusal: { sinceMs: number; toldMs: number } | undefined;

  constructor(deps: ImageDeps, options: JournalWriterOptions) {
    const { segmentBytesMax } = options.limits;
    // What one request adds to a segment that is almost full must fit too.
    assert(
      segmentBytesMax % sectorBytes === 0 && segmentBytesMax <= packBytesMax / 4,
      `a segment cannot hold ${segmentBytesMax} bytes`,
    );
    this.patience = new Patience(deps.clock, options.limits);
    this.#deps = deps;
    this.#options = options;
    const codec = deps.codec ?? inlineCodec;
    const { blockBytes, compression } = options;
    this.#sealing = { codec, rooms: new Rooms(segmentBytesMax), blockBytes, compression };
    this.#pieces = new Pieces((bytes) => codec.room(bytes));
    this.#open = new Layer(options.objectBytes);
    this.#openMemory = new SegmentMemory(this.#pieces);
    this.#seq = options.seq;
    this.#entry = options.entry;
  }

  /** What is not in the bucket yet, the newest last. */
  get layers(): Layer[] {
    return [...this.#sealed.map(({ layer }) => layer), this.#open];
  }

  get failure(): FarsideError | undefined {
    return this.#failure;
  }

  get pendingBytes(): number {
    return this.#sealedBytes + this.#open.weightBytes;
  }

  /** The end of the journal as far as it was numbered. */
  get position(): { seq: number; entry: number } {
    return { seq: this.#seq, entry: this.#entry };
  }

  get hasRoom(): boolean {
    return this.pendingBytes < this.#options.limits.pendingBytesMax;
  }

  /** Resolves when there is room for more: writers wait here while the bucket is slow or away. EIO: not within the patience. */
  async room(): Promise<void> {
    this.assertUsable();
    if (this.hasRoom) return;
    if (this.#sealed.length === 0) this.#wanted = this.#taken;
    this.#start();
    await this.#until(() => this.hasRoom);
  }

  /** Takes a copy of the data at once: whole sectors. */
  write(offset: number, data: Uint8Array): void {
    this.takeAll([], [{ offset, data }]);
  }

  /** Takes one request that zeroes and writes in several places: a crash leaves all of it or nothing. */
  takeAll(zeros: readonly ByteSpan[], writes: readonly Write[] = []): void {
    if (zeros.length + writes.length === 0) return;
    const memory = this.#openMemory;
    this.take((open) => {
      for (const { offset, length } of zeros) open.zero(offset, length);
      for (const { offset, data } of writes) memory.keep(data, (part, at) => open.write(offset + at, part));
    });
  }

  /** Takes one request at once: whole sectors. */
  take(change: (open: Layer) => void): void {
    this.assertUsable();
    change(this.#open);
    this.#taken++;
    this.#openEntries++;
    this.#openSinceMs ??= this.#deps.clock.nowMs();
    const isFull =
      this.#open.dataBytes >= this.#options.limits.segmentBytesMax || this.#openEntries >= segmentEntriesMax;
    if (isFull) this.#seal();
  }

  /** Everything taken so far is durable when this resolves. EIO: not within the patience; it is kept and tried on. */
  async flush(): Promise<void> {
    const upTo = this.#taken;
    if (this.#durable >= upTo) return this.assertUsable();
    this.#wanted = Math.max(this.#wanted, upTo);
    if (this.#options.wal) await this.#sealForLog();
    this.#start();
    await this.#until(() => this.#durable >= upTo);
  }

  /** A log does not wait for the segment that the bucket is being given; flushes that come at once share one. */
  async #sealForLog(): Promise<void> {
    await Promise.resolve();
    if (!this.#failure && this.#wanted > this.#taken - this.#openEntries) this.#seal();
  }

  /** Everything taken so far is in the bucket when this resolves, whatever the log has. Gives the first slot that is not numbered. */
  async drain(): Promise<number> {
    const upTo = this.#taken;
    this.#wanted = Math.max(this.#wanted, upTo);
    this.#start();
    await this.#until(() => this.#stored >= upTo);
    return this.#seq;
  }

  /** To be called now and then: seals what has waited for too long. */
  maintain(): void {
    const isOld =
      this.#openSinceMs !== undefined &&
      this.#deps.clock.nowMs() - this.#openSinceMs >= this.#options.limits.segmentAgeMs;
    if (isOld) this.#wanted = this.#taken;
    if (isOld || this.#sealed.length > 0) this.#start();
    this.#wake();
  }

  /** Nothing is put any more; what was not durable is lost, and whoever waits is told. */
  stop(failure = new FarsideError('ESHUTDOWN', 'the image was detached')): void {
    this.#isStopped = true;
    this.#fail(failure);
  }

  assertUsable(): void {
    if (this.#failure) throw this.#failure;
  }

  get #durable(): number {
    return this.#options.wal ? this.#logged : this.#stored;
  }

  #fail(failure: FarsideError): void {
    this.#failure ??= failure;
    this.#wake();
  }

  #wake(): void {
    const waiting = this.#changed;
    this.#changed = [];
    for (const resolve of waiting) resolve();
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#changed.push(resolve));
  }

  /** Whoever waits is woken by every change, failed attempt and look (`maintain`). */
  async #until(isReached: () => boolean): Promise<void> {
    const beganAtMs = this.#deps.clock.nowMs();
    while (!isReached()) {
      this.assertUsable();
      this.patience.check(beganAtMs);
      await this.#change();
    }
  }

  #start(): void {
    if (this.#isPumping) return;
    this.#isPumping = true;
    void this.#pump();
  }

  /** Never throws. Whatever makes it stop is looked at and noted without a pause between, so that no call of `#start` is missed. */
  async #pump(): Promise<void> {
    // After what the caller does at once: several flushes make one segment.
    await Promise.resolve();
    for (;;) {
      if (this.#sealed.length === 0 && this.#wanted > this.#taken - this.#openEntries) this.#seal();
      const next = this.#sealed[0];
      if (!next || this.#failure) break;
      await this.#store(next);
    }
    this.#isPumping = false;
  }

  #seal(): void {
    const { epoch, objectBytes, wal } = this.#options;
    const layer = this.#open;
    const meta = {
      slot: { epoch, seq: this.#seq },
      sealedAtMs: this.#deps.clock.nowMs(),
      firstEntry: this.#entry,
      entryCount: this.#openEntries,
    };
    const waiting: Waiting = { layer, memory: this.#openMemory, upTo: this.#taken, seq: this.#seq, meta };
    this.#sealed.push(waiting);
    this.#encodeNext();
    this.#sealedBytes += layer.weightBytes;
    this.#seq++;
    this.#entry += this.#openEntries;
    this.#open = new Layer(objectBytes);
    this.#openMemory = new SegmentMemory(this.#pieces);
    this.#openEntries = 0;
    this.#openSinceMs = undefined;
    if (wal) this.#log(wal, waiting);
    this.#start();
  }

  /** A segment in its encoded form takes as much memory again, so not all of them at once. */
  #encodeNext(): void {
    for (const waiting of this.#sealed.slice(0, encodedMax)) void this.#encoded(waiting);
  }

  #encoded(waiting: Waiting): Promise<EncodedSegment> {
    if (!waiting.sealing) {
      waiting.sealing = sealLayer(waiting.layer, waiting.meta, this.#sealing);
      waiting.sealing.catch(() => {}); // thrown when its turn comes
    }
    return waiting.sealing;
  }

  #log(wal: WriteAheadLog, waiting: Waiting): void {
    this.#logging = this.#logging.then(async () => {
      const { bytes } = await this.#encoded(waiting);
      await wal.append(waiting.seq, bytes);
      this.#logged = waiting.upTo;
      this.#wake();
    });
    this.#logging.catch((error: unknown) => this.#fail(asFailure(error)));
  }

  async #store(waiting: Waiting): Promise<void> {
    try {
      const sealed = await this.#encoded(waiting);
      if (this.#options.wal) await this.#logging;
      if (!(await this.#put(waiting.seq, sealed.bytes))) return;
      // In this order: a reader must find it in the layer below before it leaves the one above.
      this.#options.onDurable(sealed);
      this.#sealed.shift();
      this.#sealedBytes -= waiting.layer.weightBytes;
      waiting.memory.free();
      // Only then: a failed or repeated request may still be sending these bytes.
      if (this.#deps.bucket.freesBody) sealed.free();
      this.#encodeNext();
      this.#stored = waiting.upTo;
      this.patience.noteTaken();
      this.#wake();
      await this.#options.wal?.release(waiting.seq + 1).catch(() => {}); // replayed in vain, if ever
    } catch (error) {
      this.#fail(asFailure(error));
    }
  }

  /** Throws EIO when it has been refused for too long. Meanwhile flushes run into their patience, and writers wait for room. */
  #refused(error: FarsideError): void {
    const nowMs = this.#deps.clock.nowMs();
    const { sinceMs, toldMs } = this.#refusal ?? { sinceMs: nowMs, toldMs: -Infinity };
    const isToldNow = nowMs - toldMs >= refusalToldEveryMs;
    this.#refusal = { sinceMs, toldMs: isToldNow ? nowMs : toldMs };
    const { refusalPatienceMs } = this.#options.limits;
    if (nowMs - sinceMs >= refusalPatienceMs) {
      const why = `the bucket has refused what was written for ${refusalPatienceMs / 1000} s: ${error.message}`;
      throw new FarsideError('EIO', why, { cause: error });
    }
    if (isToldNow) this.#options.onRefused?.(error);
  }

  /** Again and again, with the same bytes, until it is there. False: fenced, or stopped. */
  async #put(seq: number, bytes: Uint8Array): Promise<boolean> {
    const { imageId, epoch } = this.#options;
    const slot = { epoch, seq };
    for (let tries = 0; !this.#isStopped; tries++) {
      try {
        const isFilled = await fillSlot(this.#deps, imageId, slot, bytes);
        this.#refusal = undefined;
        if (isFilled) return true;
        // A log that is replayed puts again what had arrived.
        if (await holdsBytes(this.#deps, imageId, slot, bytes)) return true;
        this.#fail(fenced());
        return false;
      } catch (error) {
        if (!(error instanceof FarsideError)) throw error;
        if (error.code === 'EACCES') this.#refused(error);
        else if (error.retry === 'never') throw asTaken(error);
        else this.#refusal = undefined;
        this.#wake();
        await backOff(faultBackoff, tries, this.#deps);
      }
    }
    return false;
  }
}

export const fenced = (): FarsideError =>
  new FarsideError(
    'ESHUTDOWN',
    'this writer lost the image: it was demoted, its lock was broken, or it was attached elsewhere; attach it again once that is settled',
  );

/** A site that is asked to fill a slot of an image that was demoted says so before the fence would. */
const asTaken = (error: unknown): unknown =>
  error instanceof FarsideError && error.code === 'EROFS' ? fenced() : error;

const asFailure = (error: unknown): FarsideError =>
  error instanceof FarsideError
    ? error
    : new FarsideError('EIO', `writing the journal failed: ${String(error)}`, { cause: error });
