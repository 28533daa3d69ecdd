// Owns an image in use: a disk that is read and written at any offset, with the promises of a block device. What a flush has
// covered survives the loss of this process (I5); what is durable is always a prefix of what was written; at most one writer
// is accepted (I6). The head of the image is its map, the segments behind it, and what is still in memory here.
//
//   layers, the uppermost first: being written · on its way into the journal · in the journal, not folded · the map
//
// Folding happens in the background, here or by anyone who needs the head in the map: the content does not change by it.
//
// Memory: `cacheBytes`, `pendingBytesMax`, and the places (not the data) of what is not folded.

import { readDocument, type Stored } from '../bucket/document.ts';
import { assert, FarsideError } from '../errors.ts';
import { ownerOf } from '../image/journal/attachment.ts';
import { readLevels } from '../image/config.ts';
import type { ImageDeps, ImageSpec } from '../image/deps.ts';
import { closeEpoch, openEpoch, type OpenOptions } from '../image/journal/epochs.ts';
import { foldTail } from '../image/journal/fold.ts';
import { headerSchema, type Header, type JournalOwner } from '../image/header.ts';
import { parseEpochId, type EpochId } from '../image/ids.ts';
import { headerKey } from '../image/names.ts';
import { sectorBytes } from '../image/format/node.ts';
import { compressionDefault } from '../image/options.ts';
import { packBytesMax } from '../image/format/pack.ts';
import { openStore } from '../image/packs/pack-store.ts';
import type { ByteSpan } from '../image/map/read.ts';
import type { Segment } from '../image/journal/segment.ts';
import { areSectors, type Extent } from './extents.ts';
import { HeadReader, type View } from './head-reader.ts';
import { fenced, JournalWriter, type WriteAheadLog } from './journal-writer.ts';
import { Layer, layered, type Write } from './layer.ts';
import type { AttachLimits } from './limits.ts';
import { holdOf, Quiescence, type Hold, type QuiesceHook } from './quiescence.ts';
import { ReadAhead } from './read-ahead.ts';
import { ReadCache, readAheadBytesOf, type BlockStore } from './read-cache.ts';
import { ReadRooms } from './read-rooms.ts';

export type AttachOptions = OpenOptions & {
  owner: JournalOwner;
  limits: AttachLimits;
  /** Makes the log of the epoch that begins. */
  wal?: ((image: { imageId: string; epoch: EpochId }) => WriteAheadLog) | undefined;
  /** Told after each segment that is in the bucket: mirroring wants to know. Must not throw. */
  onAdvance?: ((position: { seq: number; entry: number }) => void) | undefined;
  /** Told now and then while the bucket refuses what is written, and it is tried on. */
  onRefused?: ((refusal: FarsideError) => void) | undefined;
  /** Run around snapshots of the image by whoever takes them; the owner must say `quiesces`. */
  quiesceHook?: QuiesceHook | undefined;
  /** Blocks are looked for here before the bucket is asked. */
  disk?: BlockStore | undefined;
};

/** Newer headers tried in a row by one who found what an older one names taken away. */
const looksMax = 5;
/** Written by one request at once; with what a segment may hold already (a quarter of a pack), it fits. */
const takenBytesMax = packBytesMax / 2;
/** Places that one request zeroes at once; where more hold data, a crash may leave it done in part. */
const zeroedSpansMax = 4096;

export class AttachedImage {
  readonly #deps: ImageDeps;
  readonly #options: AttachOptions;
  readonly #epoch: string;
  readonly #journal: JournalWriter;
  readonly #reader: HeadReader;
  readonly #ahead: ReadAhead;
  readonly #objectBytes: number;
  #stored: Stored<Header>;
  /** Durable and not folded: by number, and as a layer over the map. */
  #segments = new Map<number, Segment>();
  #tail: Layer;
  #changeCount = 0;
  #folding: Promise<void> | undefined;
  #headerAtMs: number;
  /** Requests that must read before they write, one after another, and whatever comes behind them. */
  #ordered: Promise<void> = Promise.resolve();
  #orderedCount = 0;
  readonly #quiescence: Quiescence | undefined;
  #isClosed = false;

  /** EBUSY: somebody else has it attached. EROFS: non-primary. ENOENT. */
  static async open(deps: ImageDeps, spec: ImageSpec, options: AttachOptions): Promise<AttachedImage> {
    const levels = await readLevels(deps, spec.pool); // first: what fails here leaves no lock behind
    const stored = await openEpoch(deps, spec, options.owner, options);
    const compression = compressionDefault({ ...levels, meta: stored.value.meta });
    return new AttachedImage(deps, stored, options, compression);
  }

  private constructor(deps: ImageDeps, stored: Stored<Header>, options: AttachOptions, compression: 'auto' | 'none') {
    const { imageId, journal, objectBytes } = stored.value;
    assert(journal?.state === 'open', 'an image without an open journal was attached');
    this.#deps = deps;
    this.#options = options;
    this.#stored = stored;
    this.#epoch = journal.folded.epoch;
    this.#objectBytes = objectBytes;
    this.#tail = new Layer(objectBytes);
    this.#headerAtMs = deps.clock.nowMs();
    const store = openStore(deps, stored.value);
    const cache = new ReadCache(store, objectBytes, options.limits, { memory: new ReadRooms(), disk: options.disk });
    this.#reader = new HeadReader(cache, objectBytes, (offset, length) => this.#view(offset, length));
    this.#ahead = new ReadAhead(readAheadBytesOf(options.limits), (span) => this.#load(span));
    this.#journal = new JournalWriter(deps, {
      imageId,
      epoch: parseEpochId(journal.folded.epoch),
      seq: journal.folded.seq,
      entry: journal.folded.entry,
      objectBytes,
      blockBytes: Math.min(deps.settings.blockBytes, objectBytes),
      compression,
      limits: options.limits,
      wal: options.wal?.({ imageId, epoch: parseEpochId(journal.folded.epoch) }),
      onRefused: options.onRefused,
      onDurable: ({ segment }) => this.#settle(segment),
    });
    const { quiesceHook: hook, limits } = options;
    const hold = (): Hold => holdOf((work) => this.#inOrder(work));
    const drain = (): Promise<number> => this.#journal.drain();
    this.#quiescence = hook && new Quiescence(deps, { imageId, hook, holdMs: limits.quiesceHoldMs, hold, drain });
  }

  get sizeBytes(): number {
    return this.#stored.value.sizeBytes;
  }

  get header(): Header {
    return this.#stored.value;
  }

  get epoch(): string {
    return this.#epoch;
  }

  /** Set once the image was taken away from this writer. */
  get failure(): FarsideError | undefined {
    return this.#journal.failure;
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    const target = Buffer.allocUnsafeSlow(length);
    await this.readInto(offset, target);
    return target;
  }

  /** Fills `target`. EINVAL: beyond the end. EBADMSG: what is stored is damaged. Changes that have not been answered may or may not be seen. */
  async readInto(offset: number, target: Uint8Array): Promise<void> {
    const { length } = target;
    this.#checkSpan(offset, length, 'EINVAL');
    this.#ahead.told({ offset, length });
    if (areSectors(offset, length)) return this.#newest(() => this.#reader.fill(offset, target));
    const { sectors, from } = await this.#sectorsAround(offset, length);
    target.set(sectors.subarray(offset - from, offset - from + length));
  }

  /** Taken in the order of the calls; durable with the next flush. `data` may be used again when this settles. ENOSPC: beyond the end. */
  async write(offset: number, data: Uint8Array): Promise<void> {
    this.#checkSpan(offset, data.length, 'ENOSPC');
    const isWhole = areSectors(offset, data.length);
    if (isWhole && this.#canTakeNow) return this.#take(offset, data);
    await this.#inOrder(() => (isWhole ? this.#take(offset, data) : this.#writePadded(offset, data)));
  }

  /** Reads as zeros from now on, and takes no space. ENOSPC: beyond the end. */
  async zero(offset: number, length: number): Promise<void> {
    this.#checkSpan(offset, length, 'ENOSPC');
    if (areSectors(offset, length)) return this.#zeroWhole(offset, length);
    const end = offset + length;
    await this.#inOrder(async () => {
      const first = Math.ceil(offset / sectorBytes) * sectorBytes;
      const last = Math.max(this.#endSector(end), first);
      const edges: Write[] = [];
      if (first > offset) edges.push(await this.#zeroedPart(offset, Math.min(first, end) - offset));
      if (end > last) edges.push(await this.#zeroedPart(last, end - last));
      this.#journal.takeAll(await this.#spansToZero(first, last - first), edges);
    });
  }

  /** Whole sectors are dropped, parts of them left alone: a discard is a hint. */
  async discard(offset: number, length: number): Promise<void> {
    this.#checkSpan(offset, length, 'ENOSPC');
    const first = Math.ceil(offset / sectorBytes) * sectorBytes;
    const last = this.#endSector(offset + length);
    if (last > first) await this.#zeroWhole(first, last - first);
  }

  /** Everything that was accepted before is durable when this resolves. */
  async flush(): Promise<void> {
    if (this.#orderedCount > 0) await this.#ordered;
    await this.#journal.flush();
  }

  /** Which parts of a range hold data; covers a prefix of it, at least one extent. */
  async extents(offset: number, length: number): Promise<Extent[]> {
    this.#checkSpan(offset, length, 'EINVAL');
    return this.#newest(() => this.#reader.extents(offset, offset + length));
  }

  /** To be called about once a second. Never throws: what went wrong shows in `failure`, or with the next flush. */
  async maintain(): Promise<void> {
    this.#quiescence?.maintain();
    if (this.failure) return void this.#quiescence?.stop();
    this.#journal.maintain();
    if (this.#isClosed) return;
    const { clock } = this.#deps;
    const { limits } = this.#options;
    const [oldest] = this.#segments.values();
    const isOld = oldest !== undefined && clock.nowMs() - oldest.sealedAtMs >= limits.foldAgeMs;
    if (isOld || this.#isTailLong) await this.#foldSoon();
    const lookMs = this.#quiescence?.isRunning === true ? 0 : limits.headerEveryMs;
    if (clock.nowMs() - this.#headerAtMs >= lookMs) await this.#look().catch(() => {});
  }

  /** Everything that was accepted before is in the map: what a snapshot taken now would hold. */
  async settle(): Promise<void> {
    if (this.#orderedCount > 0) await this.#ordered;
    await this.#journal.drain();
    await this.#foldSoon(true);
    this.#journal.assertUsable();
  }

  /** How much of what was written is not in the bucket yet, and how long that is waited for: to be hurried before `close`. */
  get writing(): Pick<JournalWriter, 'pendingBytes' | 'patience'> {
    return this.#journal;
  }

  /** Flushes, folds and gives the image back. A failure leaves what is durable in the journal, for whoever opens it next. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    try {
      await this.#quiescence?.stop();
      if (this.failure) return;
      await this.#ordered;
      await this.#journal.drain();
      await this.#folding?.catch(() => {}); // `closeEpoch` says what is wrong
      await closeEpoch(this.#deps, this.#stored.value.imageId, this.#epoch);
    } finally {
      this.#journal.stop();
    }
  }

  /** As a crash would: nothing more reaches the bucket. */
  abandon(): void {
    this.#isClosed = true;
    this.#journal.stop();
  }

  #checkSpan(offset: number, length: number, code: 'EINVAL' | 'ENOSPC'): void {
    this.#journal.assertUsable();
    if (offset + length > this.sizeBytes) {
      throw new FarsideError(code, `bytes ${offset} to ${offset + length} lie beyond the image's ${this.sizeBytes}`);
    }
  }

  /** The last byte of an image may lie within a sector, whose rest is nobody's. */
  #endSector(end: number): number {
    const isEnd = end === this.sizeBytes;
    return (isEnd ? Math.ceil(end / sectorBytes) : Math.floor(end / sectorBytes)) * sectorBytes;
  }

  /** Nothing is being read first, and nobody waits for room: what is called now is taken before anything that is called later. */
  get #canTakeNow(): boolean {
    return this.#orderedCount === 0 && this.#journal.hasRoom;
  }

  /** Behind whatever came before. */
  async #inOrder(work: () => Promise<void> | void): Promise<void> {
    this.#orderedCount++;
    const done = this.#ordered
      .then(() => this.#journal.room())
      .then(work)
      .finally(() => this.#orderedCount--);
    this.#ordered = done.catch(() => {});
    await done;
  }

  /** In one segment, so that a crash leaves all of it or nothing; in pieces only where no pack is large enough. */
  #take(offset: number, data: Uint8Array): void {
    for (let at = 0; at < data.length; at += takenBytesMax)
      this.#journal.write(offset + at, data.subarray(at, at + takenBytesMax));
  }

  /** The sectors around a range, read and changed. Only the first and the last matter, but they are rarely far apart. */
  async #writePadded(offset: number, data: Uint8Array): Promise<void> {
    const { sectors, from } = await this.#sectorsAround(offset, data.length);
    sectors.set(data, offset - from);
    this.#take(from, sectors);
  }

  async #zeroWhole(offset: number, length: number): Promise<void> {
    if (length < this.#objectBytes && this.#canTakeNow) return this.#journal.take((open) => open.zero(offset, length));
    await this.#inOrder(async () => this.#journal.takeAll(await this.#spansToZero(offset, length)));
  }

  /** Of a range that is no smaller than an object, only what holds data: discarding an empty disk costs nothing. */
  async #spansToZero(offset: number, length: number): Promise<ByteSpan[]> {
    if (length < this.#objectBytes) return length === 0 ? [] : [{ offset, length }];
    const spans: ByteSpan[] = [];
    for (let at = offset; at < offset + length;) {
      for (const extent of await this.#newest(() => this.#reader.extents(at, offset + length))) {
        if (!extent.hole) spans.push({ offset: at, length: extent.length });
        at += extent.length;
      }
      if (spans.length >= zeroedSpansMax) this.#journal.takeAll(spans.splice(0));
    }
    return spans;
  }

  async #zeroedPart(offset: number, length: number): Promise<Write> {
    const { sectors, from } = await this.#sectorsAround(offset, length);
    return { offset: from, data: sectors.fill(0, offset - from, offset - from + length) };
  }

  /** What lies over the map in a range, and the map below: taken together at one moment. */
  #view(offset: number, length: number): View {
    return { above: layered([this.#tail, ...this.#journal.layers], offset, length), root: this.#stored.value.root };
  }

  get #isTailLong(): boolean {
    const { foldSegmentsMax, foldChangesMax } = this.#options.limits;
    return this.#segments.size >= foldSegmentsMax || this.#changeCount >= foldChangesMax;
  }

  #sectorsAround(offset: number, length: number): ReturnType<HeadReader['sectorsAround']> {
    return this.#newest(() => this.#reader.sectorsAround(offset, length));
  }

  /** Into the cache. */
  async #load({ offset, length }: ByteSpan): Promise<void> {
    const from = Math.floor(offset / sectorBytes) * sectorBytes;
    const end = Math.min(this.#endSector(this.sizeBytes), Math.ceil((offset + length) / sectorBytes) * sectorBytes);
    if (end > from) await this.#reader.load({ offset: from, length: end - from });
  }

  #settle(segment: Segment): void {
    const { folded } = this.#stored.value.journal!;
    // Else somebody folded it before the bucket's answer came.
    if (segment.slot.seq >= folded.seq) {
      this.#segments.set(segment.slot.seq, segment);
      this.#changeCount += segment.changes.length;
      this.#tail.lay(segment);
    }
    if (this.#isTailLong) void this.#foldSoon();
    this.#options.onAdvance?.({ seq: segment.slot.seq + 1, entry: segment.firstEntry + segment.entryCount });
  }

  /** `strict`: with what is durable now, and says what went wrong. Else the next one tries again. */
  async #foldSoon(strict = false): Promise<void> {
    if (strict) await this.#folding?.catch(() => {});
    this.#folding ??= this.#fold().finally(() => (this.#folding = undefined));
    await (strict ? this.#folding : this.#folding.catch(() => {}));
  }

  async #fold(): Promise<void> {
    await this.#newest(async () => {
      const known = new Map(this.#segments);
      this.#adopt(await foldTail(this.#deps, this.#stored, { known }));
    });
  }

  /** Others fold too, and what only an older root reaches, collection takes away: then again, from the newest root. */
  async #newest<T>(work: () => Promise<T>): Promise<T> {
    for (let looks = 0; ; looks++) {
      const { revision } = this.#stored;
      try {
        return await work();
      } catch (error) {
        if (!(error instanceof FarsideError) || error.code !== 'EBADMSG' || looks === looksMax) throw error;
        if (this.#stored.revision === revision) await this.#look();
        if (this.#stored.revision === revision) throw error;
      }
    }
  }

  async #look(): Promise<void> {
    this.#headerAtMs = this.#deps.clock.nowMs();
    const { imageId } = this.#stored.value;
    const stored = await readDocument(this.#deps.bucket, headerKey(imageId), headerSchema);
    if (stored) this.#adopt(stored);
    else this.#journal.stop(fenced());
  }

  /** Goes on with a newer header: what is folded leaves the layer over the map. */
  #adopt(stored: Stored<Header>): void {
    const { journal } = stored.value;
    if (!ownerOf(stored.value) || journal?.folded.epoch !== this.#epoch) return this.#journal.stop(fenced());
    if (stored.revision >= this.#stored.revision) this.#quiescence?.see(stored.value);
    if (stored.revision <= this.#stored.revision) return;
    this.#stored = stored;
    for (const seq of this.#segments.keys()) if (seq < journal.folded.seq) this.#segments.delete(seq);
    this.#tail = new Layer(this.#objectBytes);
    this.#changeCount = 0;
    for (const segment of this.#segments.values()) {
      this.#changeCount += segment.changes.length;
      this.#tail.lay(segment);
    }
  }
}
