// Owns `bench`: reads and writes of a pattern against an image, through the same engine as every other command, and what they
// took. Nothing is left out of the time: cutting, compressing, uploading, verifying, committing.
//
// Writes become visible and durable in batches: one commit (a swap of the header) for each `batchBytes` or `batchOps`, and one at the
// end. A write counts when its batch is committed; a run that is killed leaves whole batches. Within a batch, writes of the same
// place are one, as they are for a cache that writes back, and the batch goes to the map in the order of offsets. Data are
// drawn at random, so they compress as badly as they can.
//
// Memory: the engine's, one pool of random data, and the offsets of one batch; reads at once are limited by `readBytesMax`.

import pLimit from 'p-limit';
import { FarsideError } from '../errors.ts';
import { assertWritable, openHeader } from '../image/access.ts';
import type { Compression } from '../image/format/codec.ts';
import { commitRoot } from '../image/commit.ts';
import { readLevels } from '../image/config.ts';
import type { ImageDeps, ImageSpec } from '../image/deps.ts';
import { compressionDefault } from '../image/options.ts';
import { Patch } from '../image/map/patch.ts';
import { readRange } from '../image/map/read.ts';
import { formatBytes } from './parse/grammar.ts';
import type { Content } from '../attach/read-only-image.ts';
import { openContent } from './transfer/export.ts';

export const ioTypes = ['read', 'write', 'readwrite', 'rw'] as const;
export const ioPatterns = ['rand', 'seq', 'full-seq'] as const;
export type IoType = 'read' | 'write' | 'readwrite';
export type IoPattern = (typeof ioPatterns)[number];

export type Bench = {
  type: IoType;
  ioBytes: number;
  threads: number;
  totalBytes: number;
  pattern: IoPattern;
  /** Per cent of the operations of `readwrite` that read. */
  readPercent: number;
};

const mebibyte = 1024 * 1024;
const batchBytes = 64 * mebibyte;
const batchOps = 65_536;
const readBytesMax = 64 * mebibyte;
const poolBytes = 8 * mebibyte;
/** Drawn at once. */
const drawBytesMax = 65_536;
/** A commit is tried again on a head that somebody else changed meanwhile. */
const commitTriesMax = 5;

const patternWords: Record<IoPattern, string> = { rand: 'random', seq: 'sequential', 'full-seq': 'full sequential' };

export const benchHeading = ({ type, ioBytes, threads, totalBytes, pattern, readPercent }: Bench): string => {
  const mix = type === 'readwrite' ? ` read:write=${readPercent}:${100 - readPercent}` : '';
  return `bench  type ${type}${mix} io_size ${ioBytes} io_threads ${threads} bytes ${totalBytes} pattern ${patternWords[pattern]}`;
};
export const benchColumns = '  SEC       OPS   OPS/SEC   BYTES/SEC';

/** As C++ prints a double: six significant digits. */
const number = (value: number): string => String(Number((Number.isFinite(value) ? value : 0).toPrecision(6)));
const rate = (bytes: number, seconds: number): string => `${formatBytes(Math.round(bytes / seconds) || 0)}/s`;

export type Tally = { ops: number; bytes: number; seconds: number };

export const benchRow = ({ ops, bytes, seconds }: Tally): string =>
  [
    String(Math.floor(seconds)).padStart(5),
    String(ops).padStart(10),
    number(ops / seconds).padStart(10),
    rate(bytes, seconds).padStart(12),
  ].join('');

const summary = ({ ops, bytes, seconds }: Tally, prefix = ''): string =>
  `${prefix}ops: ${ops}   ${prefix}ops/sec: ${number(ops / seconds)}   ${prefix}bytes/sec: ${rate(bytes, seconds)}`;

export type Totals = { all: Tally; reads: Tally; writes: Tally };

export const benchSummary = ({ type }: Bench, { all, reads, writes }: Totals): string => {
  const lines = [`elapsed: ${Math.floor(all.seconds)}   ${summary(all)}`];
  if (type === 'readwrite') lines.push(summary(reads, 'read_'), summary(writes, 'write_'));
  return lines.map((line) => `${line}\n`).join('');
};

/** Offsets of operations, one after another. */
export function* offsets(
  { pattern, ioBytes, threads }: Pick<Bench, 'pattern' | 'ioBytes' | 'threads'>,
  sizeBytes: number,
  fraction: () => number,
): Generator<number> {
  const slots = Math.floor(sizeBytes / ioBytes);
  const drawn = (): number => Math.floor(fraction() * slots) * ioBytes;
  if (pattern === 'rand') while (true) yield drawn();
  // Each thread goes on from a place of its own; the threads of full-seq share the image out among them.
  const share = Math.floor(slots / threads) * ioBytes;
  const places = Array.from({ length: threads }, (_, index) => (pattern === 'seq' ? drawn() : index * share));
  while (true) {
    for (const [index, place] of places.entries()) {
      yield place;
      const next = place + ioBytes;
      places[index] = next + ioBytes > sizeBytes ? 0 : next;
    }
  }
}

/** EINVAL: an operation is larger than the image. EROFS: the image is not to be written. `onSecond` hears of whole seconds. */
export async function runBench(
  deps: ImageDeps,
  spec: ImageSpec,
  bench: Bench,
  onSecond: (tally: Tally) => void,
): Promise<Totals> {
  const content = await openContent(deps, spec);
  const run = new BenchRun(deps, spec, bench, content, onSecond);
  return await run.toEnd();
}

class BenchRun {
  readonly #deps: ImageDeps;
  readonly #spec: ImageSpec;
  readonly #bench: Bench;
  #content: Content;
  readonly #onSecond: (tally: Tally) => void;
  readonly #startedAtMs: number;
  #compression: Compression | undefined;
  #data: Buffer | undefined;
  readonly #batch = new Set<number>();
  #batchedOps = 0;
  #reads = 0;
  #writes = 0;
  #toldSeconds = 0;

  constructor(deps: ImageDeps, spec: ImageSpec, bench: Bench, content: Content, onSecond: (tally: Tally) => void) {
    this.#deps = deps;
    this.#spec = spec;
    this.#bench = bench;
    this.#content = content;
    this.#onSecond = onSecond;
    this.#startedAtMs = deps.clock.nowMs();
  }

  async toEnd(): Promise<Totals> {
    const { type, ioBytes, totalBytes, threads, readPercent } = this.#bench;
    if (type !== 'read') assertWritable((await openHeader(this.#deps, this.#spec)).value);
    const opsTotal = Math.ceil(totalBytes / ioBytes);
    const places = offsets(this.#bench, this.#content.sizeBytes, () => this.#deps.random.fraction());
    const atOnce = Math.max(1, Math.min(threads, Math.floor(readBytesMax / ioBytes)));
    for (let ops = 0; ops < opsTotal;) {
      const reading: number[] = [];
      for (let index = 0; index < threads && ops < opsTotal; index++, ops++) {
        const offset = places.next().value as number;
        if (isRead(type, readPercent, this.#deps.random.fraction())) reading.push(offset);
        else this.#enqueue(offset);
      }
      await this.#readAll(reading, atOnce);
      if (this.#batchedOps >= batchOps || this.#batchedOps * ioBytes >= batchBytes) await this.#commit();
      this.#tell();
    }
    await this.#commit();
    return this.#totals();
  }

  #enqueue(offset: number): void {
    this.#batch.add(offset);
    this.#batchedOps += 1;
  }

  async #readAll(places: readonly number[], atOnce: number): Promise<void> {
    const { store, root, objectBytes } = this.#content;
    const limit = pLimit(atOnce);
    const read = (offset: number) =>
      limit(() => readRange(store, root, objectBytes, { offset, length: this.#bench.ioBytes }));
    await Promise.all(places.map(read));
    this.#reads += places.length;
  }

  async #commit(): Promise<void> {
    if (this.#batchedOps === 0) return;
    for (let tries = 1; ; tries++) {
      try {
        await this.#commitOnce();
        break;
      } catch (error) {
        if (!(error instanceof FarsideError) || error.code !== 'ESTALE' || tries >= commitTriesMax) throw error;
      }
    }
    this.#writes += this.#batchedOps;
    this.#batchedOps = 0;
    this.#batch.clear();
    if (this.#bench.type === 'readwrite') this.#content = await openContent(this.#deps, this.#spec);
  }

  async #commitOnce(): Promise<void> {
    const base = await openHeader(this.#deps, this.#spec);
    const { sizeBytes, meta } = base.value;
    const levels = await readLevels(this.#deps, this.#spec.pool, meta);
    const compression = (this.#compression ??= compressionDefault(levels));
    const patch = new Patch(this.#deps, base.value, { compression, resume: false });
    for (const offset of [...this.#batch].toSorted((a, b) => a - b)) await this.#writeAt(patch, offset);
    await commitRoot(this.#deps, base, { ...(await patch.finish(sizeBytes)), sizeBytes });
  }

  /** The image may be larger than the pool of data, an operation too. */
  async #writeAt(patch: Patch, offset: number): Promise<void> {
    const data = (this.#data ??= randomPool(this.#deps));
    for (let done = 0; done < this.#bench.ioBytes;) {
      const length = Math.min(this.#bench.ioBytes - done, poolBytes / 2);
      const from = Math.floor(this.#deps.random.fraction() * (poolBytes - length));
      await patch.write(offset + done, data.subarray(from, from + length));
      done += length;
    }
  }

  #tell(): void {
    const { all } = this.#totals();
    if (Math.floor(all.seconds) <= this.#toldSeconds) return;
    this.#toldSeconds = Math.floor(all.seconds);
    this.#onSecond(all);
  }

  #totals(): Totals {
    const seconds = (this.#deps.clock.nowMs() - this.#startedAtMs) / 1000;
    const tally = (ops: number): Tally => ({ ops, bytes: ops * this.#bench.ioBytes, seconds });
    return { all: tally(this.#reads + this.#writes), reads: tally(this.#reads), writes: tally(this.#writes) };
  }
}

const isRead = (type: IoType, readPercent: number, drawn: number): boolean =>
  type === 'read' || (type === 'readwrite' && drawn * 100 < readPercent);

function randomPool({ random }: Pick<ImageDeps, 'random'>): Buffer {
  const pool = Buffer.allocUnsafeSlow(poolBytes);
  for (let at = 0; at < poolBytes; at += drawBytesMax) pool.set(random.bytes(drawBytesMax), at);
  return pool;
}
