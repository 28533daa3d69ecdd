// Owns merging two diff streams that follow each other into one: what the second says goes over what the first says.
// Records are taken apart where they overlap and otherwise kept as they are, as rbd does it. Nothing is held but a piece of
// data.

import { FarsideError } from '../errors.ts';
import type { DataRecord } from './diff-format.ts';
import { nextData, readDiffHead, type DiffHead, type DiffReader } from './diff-reader.ts';
import { diffEnd, encodeHead, encodeRecord } from './diff-writer.ts';

const pieceBytesMax = 1024 * 1024;

/** The merged stream (v1). @throws EINVAL the streams do not follow each other; EOPNOTSUPP offsets that do not ascend */
export async function* mergeDiffs(firstReader: DiffReader, secondReader: DiffReader): AsyncGenerator<Uint8Array> {
  const firstHead = await readDiffHead(firstReader);
  const secondHead = await readDiffHead(secondReader);
  assertChained(firstHead, secondHead);
  const sizeBytes = sizeOf(secondHead, 'second');
  yield encodeHead(1, { from: firstHead.from, to: secondHead.to, sizeBytes });
  const first = new Cursor(firstReader, 'first', firstHead.first, grownPart(sizeOf(firstHead, 'first'), sizeBytes));
  const second = new Cursor(secondReader, 'second', secondHead.first);
  for (;;) {
    if (first.at && first.at.offset >= sizeBytes) {
      await first.dropBelow(Infinity);
    } else if (first.at && first.at.offset < (second.at?.offset ?? Infinity)) {
      yield* first.take(Math.min(second.at?.offset ?? Infinity, sizeBytes) - first.at.offset);
    } else if (second.at) {
      await first.dropBelow(second.at.offset + second.at.length);
      yield* second.take(second.at.length);
    } else break;
  }
  yield diffEnd;
}

/** A stream without its beginning or end said follows nothing, and nothing follows it. */
function assertChained(first: DiffHead, second: DiffHead): void {
  if (first.to !== undefined && first.to === second.from) return;
  throw new FarsideError(
    'EINVAL',
    'The first TO snapshot must be equal with the second FROM snapshot, aborting\n' +
      `the first diff ends at ${nameOf(first.to)}, the second begins at ${nameOf(second.from)}`,
  );
}

const nameOf = (name: string | undefined): string => (name === undefined ? 'no snapshot' : `snapshot '${name}'`);

function sizeOf(head: DiffHead, which: string): number {
  if (head.sizeBytes !== undefined) return head.sizeBytes;
  throw new FarsideError('EINVAL', `the ${which} diff does not tell the size of the image`);
}

/** Space that the second stream adds to what the first had left reads as zeros, also where there was data before the first. */
const grownPart = (fromBytes: number, toBytes: number): DataRecord | undefined =>
  fromBytes < toBytes ? { type: 'zero', offset: fromBytes, length: toBytes - fromBytes } : undefined;

/** A stream's data records one after another, used up from the front; `last` comes behind them. */
class Cursor {
  readonly #reader: DiffReader;
  readonly #which: string;
  #last: DataRecord | undefined;
  /** What is left of the record at hand. */
  at: DataRecord | undefined;

  constructor(reader: DiffReader, which: string, first: DataRecord | undefined, last?: DataRecord) {
    this.#reader = reader;
    this.#which = which;
    this.at = first ?? last;
    this.#last = first ? last : undefined;
  }

  /** The next bytes of the record at hand, at most `byteCount`, as a record of their own. */
  async *take(byteCount: number): AsyncGenerator<Uint8Array> {
    const record = this.at!;
    const length = Math.min(byteCount, record.length);
    if (length > 0) yield encodeRecord(1, { ...record, length });
    for (let left = record.type === 'write' ? length : 0; left > 0;) {
      const piece = await this.#reader.data(Math.min(left, pieceBytesMax));
      left -= piece.length;
      yield piece;
    }
    await this.#advance(length);
  }

  /** Leaves out what lies below an offset of the image. */
  async dropBelow(offset: number): Promise<void> {
    while (this.at && this.at.offset < offset) {
      const length = Math.min(this.at.length, offset - this.at.offset);
      if (this.at.type === 'write') await this.#reader.skipData(length);
      await this.#advance(length);
    }
  }

  async #advance(usedBytes: number): Promise<void> {
    const { type, offset, length } = this.at!;
    const end = offset + usedBytes;
    if (usedBytes < length) this.at = { type, offset: end, length: length - usedBytes };
    else this.at = await this.#next(end);
  }

  async #next(end: number): Promise<DataRecord | undefined> {
    let record = await nextData(this.#reader);
    while (record?.length === 0) record = await nextData(this.#reader);
    if (!record) {
      record = this.#last;
      this.#last = undefined;
    }
    if (!record || record.offset >= end) return record;
    throw new FarsideError(
      'EOPNOTSUPP',
      `out-of-order offset from ${this.#which} diff (${end} > ${record.offset}): such streams cannot be merged`,
    );
  }
}
