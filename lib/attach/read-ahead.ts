// Owns reading ahead: readers that go on where they stopped get what follows before they ask for it. Several at once are told apart,
// as those of a copying program with several connections. The longer a reader goes on, the more is read ahead of it.

import type { ByteSpan } from '../image/map/read.ts';

type Reader = { start: number; end: number; aheadEnd: number };

/** The one that was heard of longest ago is forgotten first. */
const readersMax = 16;
/** Ranges being fetched at once: bounds memory. */
const rangesMax = 4;
/** Requests that were sent one after another may come a little out of order: by so many of their lengths. */
const slackLengths = 4;

export class ReadAhead {
  readonly #readAheadBytes: number;
  readonly #fetch: (span: ByteSpan) => Promise<void>;
  /** The latest last. */
  #readers: Reader[] = [];
  #rangeCount = 0;

  /** @param fetch brings a range into the cache; how it fails shows when the range is asked for. */
  constructor(readAheadBytes: number, fetch: (span: ByteSpan) => Promise<void>) {
    this.#readAheadBytes = readAheadBytes;
    this.#fetch = fetch;
  }

  /** To be told of each read. */
  told(span: ByteSpan): void {
    const next = this.#after(span);
    if (!next || this.#rangeCount === rangesMax) return;
    this.#rangeCount++;
    this.#fetch(next)
      .catch(() => {})
      .finally(() => this.#rangeCount--);
  }

  #after({ offset, length }: ByteSpan): ByteSpan | undefined {
    const end = offset + length;
    const known = this.#readers.find((one) => Math.abs(offset - one.end) <= slackLengths * length);
    const reader = known ?? { start: offset, end, aheadEnd: end };
    this.#readers = [...this.#readers.filter((one) => one !== reader), reader].slice(-readersMax);
    if (!known) return undefined;
    reader.end = Math.max(reader.end, end);
    const aheadBytes = Math.min(this.#readAheadBytes, 2 * (reader.end - reader.start));
    if (reader.aheadEnd - reader.end > aheadBytes / 2) return undefined;
    const from = Math.max(reader.aheadEnd, reader.end);
    reader.aheadEnd = from + aheadBytes;
    return aheadBytes > 0 ? { offset: from, length: aheadBytes } : undefined;
  }
}
