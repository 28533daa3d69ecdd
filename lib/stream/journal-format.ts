// Owns the stream of a journal (docs/format.md, "Journal stream"): its bytes out, and records in. Pure. What a segment is, and
// whether it can be trusted, is the engine's to say; here it is bytes behind a checksum.
//
// A record whose framing holds but whose checksum does not is given as `damaged`, so that the reader may go on. Memory: one record.

import { crc32 } from 'node:zlib';

import type { ByteSource } from './byte-source.ts';
import { damaged } from './diff-format.ts';
import { integerField, readBanner } from './fields.ts';

const banner = 'farside journal v1\n';
const tags = { head: 'h', segment: 's', missing: 'm', end: 'e' } as const;
type Tag = keyof typeof tags;
const tagOfByte = new Map(Object.entries(tags).map(([tag, letter]) => [letter.charCodeAt(0), tag as Tag]));

/** Far above what any writer makes; keeps a damaged length from asking for absurd memory. */
export const journalSegmentBytesMax = 64 * 1024 * 1024;
const imageIdBytes = 12;
const epochBytes = 8;
const headBytes = imageIdBytes + epochBytes + 3 * 8;
const endBytes = 8;

/**
 * Whose journal it is, and where it begins: ids in hex; `tag` counts the epochs of the image. `sizeBytes`: of the image; what
 * lies beyond is not there.
 */
export type JournalHead = { imageId: string; epoch: string; tag: number; firstSeq: number; sizeBytes: number };

/** One for each number from `firstSeq` on. `missing`: the export left it out, being damaged there. */
export type JournalRecord =
  | { type: 'segment'; seq: number; bytes: Buffer }
  | { type: 'missing'; seq: number }
  | { type: 'damaged'; seq: number };

export function encodeJournalHead({ imageId, epoch, tag, firstSeq, sizeBytes }: JournalHead): Buffer {
  const ids = [Buffer.from(imageId, 'hex'), Buffer.from(epoch, 'hex')];
  const head = Buffer.concat([...ids, ...[tag, firstSeq, sizeBytes].map(integerField)]);
  return Buffer.concat([Buffer.from(banner), ...encodeRecord('head', head)]);
}

export const encodeJournalSegment = (bytes: Uint8Array): Uint8Array[] => encodeRecord('segment', bytes);
export const encodeJournalGap = (): Uint8Array[] => encodeRecord('missing', Buffer.alloc(0));
/** @param recordCount segments and gaps before it */
export const encodeJournalEnd = (recordCount: number): Uint8Array[] => encodeRecord('end', integerField(recordCount));

function encodeRecord(tag: Tag, payload: Uint8Array): Uint8Array[] {
  const start = Buffer.alloc(5);
  start.write(tags[tag], 'latin1');
  start.writeUInt32LE(payload.length, 1);
  const checksum = Buffer.alloc(4);
  checksum.writeUInt32LE(checksumOf(start, payload));
  return [start, payload, checksum];
}

const checksumOf = (start: Uint8Array, payload: Uint8Array): number => crc32(payload, crc32(start));

type RawRecord = { tag: Tag; payload: Buffer; isSound: boolean };

export class JournalReader {
  readonly #source: ByteSource;
  readonly head: JournalHead;
  #recordCount = 0;
  #ended = false;

  /** EINVAL: no such stream. EBADMSG: its head is damaged. */
  static async open(source: ByteSource): Promise<JournalReader> {
    await readBanner(source, [banner]);
    const { tag, payload, isSound } = await readRecord(source);
    if (tag !== 'head' || !isSound || payload.length !== headBytes)
      throw damaged('its head is not one that any export writes', source.positionBytes);
    const integer = (index: number): number => integerAt(payload, imageIdBytes + epochBytes + 8 * index, source);
    return new JournalReader(source, {
      imageId: payload.toString('hex', 0, imageIdBytes),
      epoch: payload.toString('hex', imageIdBytes, imageIdBytes + epochBytes),
      tag: integer(0),
      firstSeq: integer(1),
      sizeBytes: integer(2),
    });
  }

  private constructor(source: ByteSource, head: JournalHead) {
    this.#source = source;
    this.head = head;
  }

  /** The next record; undefined at the end. EBADMSG: nothing that follows can be told apart any more. */
  async next(): Promise<JournalRecord | undefined> {
    if (this.#ended) return undefined;
    const { tag, payload, isSound } = await readRecord(this.#source);
    if (tag === 'head' || (tag === 'end' && !isSound)) throw this.#damaged(`an unexpected ${tag}`);
    if (tag === 'end') {
      this.#checkEnd(payload);
      return undefined;
    }
    const seq = this.head.firstSeq + this.#recordCount++;
    if (!Number.isSafeInteger(seq)) throw this.#damaged('its segments are numbered out of range');
    if (!isSound || (tag === 'missing' && payload.length > 0)) return { type: 'damaged', seq };
    return tag === 'missing' ? { type: 'missing', seq } : { type: 'segment', seq, bytes: payload };
  }

  /** A stream that lost whole records is as damaged as one that lost bytes. */
  #checkEnd(payload: Buffer): void {
    const isCount = payload.length === endBytes && payload.readBigUInt64LE() === BigInt(this.#recordCount);
    if (!isCount) throw this.#damaged(`its end counts other than the ${this.#recordCount} records before it`);
    this.#ended = true;
  }

  #damaged(what: string): Error {
    return damaged(what, this.#source.positionBytes);
  }
}

async function readRecord(source: ByteSource): Promise<RawRecord> {
  const start = await source.exact(5);
  const tag = tagOfByte.get(start[0]!);
  if (tag === undefined) throw damaged(`unrecognized tag byte ${start[0]}`, source.positionBytes);
  const length = start.readUInt32LE(1);
  if (length > (tag === 'segment' ? journalSegmentBytesMax : headBytes))
    throw damaged(`a ${tag} of ${length} bytes`, source.positionBytes);
  const payload = await readPayload(source, length);
  const isSound = (await source.exact(4)).readUInt32LE() === checksumOf(start, payload);
  return { tag, payload, isSound };
}

/** Nothing is allocated before it has come. */
async function readPayload(source: ByteSource, length: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  for (let missing = length; missing > 0;) {
    const part = await source.some(missing);
    parts.push(part);
    missing -= part.length;
  }
  return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
}

function integerAt(payload: Buffer, at: number, source: ByteSource): number {
  const value = payload.readBigUInt64LE(at);
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw damaged(`${value} is out of range`, source.positionBytes);
  return Number(value);
}
