// Owns the format of a segment, what lies in a slot of a journal (docs/format.md, "Journal"). Pure: no I/O. Parsing never trusts its input: whatever is wrong is a FarsideError EBADMSG.
//
// A segment is a pack. Its entry 0 says what the segment does to the image, as changes in ascending order that do not overlap;
// the others are the blocks that it writes. So the map can refer to them where they lie, and nothing is written twice. A
// segment is applied whole or not at all, and may be applied again.

import { FarsideError } from '../../errors.ts';
import { decodeEntry, encodeEntry } from '../format/codec.ts';
import { parseEpochId } from '../ids.ts';
import { sectorBytes, type Slot } from '../format/node.ts';
import { OpenPack, Rooms } from '../packs/open-pack.ts';
import {
  entryKind,
  indexBytes,
  parseAnyPackIndex,
  parseEntryCount,
  parsePackIndex,
  type NewEntry,
  type PackIndex,
} from '../format/pack.ts';
import type { Pack } from '../packs/pack-store.ts';
import { ByteReader, ByteWriter } from '../format/varint.ts';

const version = 1;
const epochBytes = 8;
const eventsEntry = 0;

/** One change: a block of the segment, or a hole. Offsets and lengths are bytes, multiples of a sector. */
export type SegmentChange = { offset: number; length: number; entry?: number };
export type NewChange = { offset: number; length: number; block?: NewEntry };

/** `firstEntry`: requests written in this epoch before the segment; `entryCount`: those that it holds. */
export type SegmentMeta = { slot: Slot; sealedAtMs: number; firstEntry: number; entryCount: number };
export type Segment = SegmentMeta & { pack: Pack; changes: SegmentChange[] };

const bad = (what: string): FarsideError => new FarsideError('EBADMSG', `damaged journal segment: ${what}`);

/** `free`: to be called when `bytes` are not needed any more, so that their memory is used again. */
export type EncodedSegment = { segment: Segment; bytes: Buffer; free: () => void };

/** `changes` must ascend and not overlap; each block is as long as its change. */
export function encodeSegment(meta: SegmentMeta, changes: readonly NewChange[], rooms = new Rooms(0)): EncodedSegment {
  const blocks = changes.flatMap(({ block }) => (block ? [block] : []));
  let entry = eventsEntry;
  const numbered = changes.map(({ offset, length, block }): SegmentChange =>
    block ? { offset, length, entry: ++entry } : { offset, length },
  );
  const events = encodeEntry(entryKind.events, 0, encodeEvents(meta, numbered), 'none');
  const open = new OpenPack(rooms);
  const entries = [events, ...blocks];
  open.reserve(
    entries.length,
    entries.reduce((sum, { encoded }) => sum + encoded.length, 0),
  );
  for (const part of entries) open.add(part);
  const { encoded: made, free } = open.close();
  const { packId, bytes, entryCount } = made;
  const pack: Pack = { packId, entryCount, packBytes: bytes.length, slot: meta.slot };
  return { segment: { ...meta, pack, changes: numbered }, bytes, free };
}

function encodeEvents(meta: SegmentMeta, changes: readonly SegmentChange[]): Buffer {
  const out = new ByteWriter();
  out.byte(version);
  out.raw(Buffer.from(meta.slot.epoch, 'hex'));
  out.varint(meta.slot.seq);
  out.varint(meta.sealedAtMs);
  out.varint(meta.firstEntry);
  out.varint(meta.entryCount);
  out.varint(changes.length);
  let end = 0;
  for (const { offset, length, entry } of changes) {
    const sector = offset / sectorBytes;
    out.varint(sector - end);
    out.varint(length / sectorBytes);
    out.varint(entry ?? 0);
    end = sector + length / sectorBytes;
  }
  return out.finish();
}

/** Bytes from a segment's start that hold its index and events; what was read so far may be too little to know. */
export function segmentHeadBytes(head: Uint8Array): number {
  const upToIndex = indexBytes(parseEntryCount(head));
  if (head.length < upToIndex) return upToIndex;
  const { offset, length } = parseAnyPackIndex(head).range(eventsEntry);
  return offset + length;
}

/**
 * Parses the first bytes of a segment: at least `segmentHeadBytes`.
 * @param slot where it was found: it must be the segment of that very slot.
 */
export function parseSegment(head: Uint8Array, slot: Slot): Segment {
  const index = parseAnyPackIndex(head);
  const first = index.entry(eventsEntry);
  if (first.kind !== entryKind.events) throw bad('its first entry does not hold its events');
  const raw = decodeEntry(first, index.encoded(head, eventsEntry));
  const { packId, entryCount, packBytes } = index;
  const parsed = decodeEvents(new ByteReader(Buffer.from(raw.buffer, raw.byteOffset, raw.byteLength)));
  if (parsed.slot.epoch !== slot.epoch || parsed.slot.seq !== slot.seq)
    throw bad(`it was made for slot ${parsed.slot.seq} of epoch ${parsed.slot.epoch}`);
  for (const change of parsed.changes) checkChange(index, change);
  return { ...parsed, pack: { packId, entryCount, packBytes, slot } };
}

/**
 * Parses and verifies a whole segment: everything that it refers to is there, and is what its hash says. EBADMSG else.
 * @returns also how to get the data of a change that has some, which costs decoding it again
 */
export function parseWholeSegment(bytes: Uint8Array, slot: Slot): { segment: Segment; dataOf: BlockReader } {
  const segment = parseSegment(bytes, slot);
  const index = parsePackIndex(bytes, segment.pack.packId);
  if (!index.isComplete || index.storedBytes !== bytes.length) throw bad('it is not whole');
  const dataOf: BlockReader = (entry) => decodeEntry(index.entry(entry), index.encoded(bytes, entry));
  for (const { entry } of segment.changes) if (entry !== undefined) dataOf(entry);
  return { segment, dataOf };
}

/** The raw bytes of an entry. */
export type BlockReader = (entry: number) => Uint8Array;

function decodeEvents(input: ByteReader): SegmentMeta & { changes: SegmentChange[] } {
  if (input.byte() !== version) throw bad('unknown version');
  const slot = { epoch: parseEpochId(input.raw(epochBytes).toString('hex')), seq: input.varint() };
  const meta = { slot, sealedAtMs: input.varint(), firstEntry: input.varint(), entryCount: input.varint() };
  const changeCount = input.varint();
  if (changeCount > input.remaining) throw bad('change count out of range');
  const changes: SegmentChange[] = [];
  for (let i = 0, end = 0; i < changeCount; i++) {
    const sector = end + input.varint();
    const sectors = input.varint();
    const entry = input.varint();
    end = sector + sectors;
    if (sectors === 0 || !Number.isSafeInteger(end * sectorBytes)) throw bad('a change is out of range');
    const span = { offset: sector * sectorBytes, length: sectors * sectorBytes };
    changes.push(entry === 0 ? span : { ...span, entry });
  }
  if (input.remaining > 0) throw bad('bytes follow its events');
  return { ...meta, changes };
}

function checkChange(index: PackIndex, { offset, length, entry }: SegmentChange): void {
  if (entry === undefined) return;
  if (entry >= index.entryCount) throw bad(`it has no entry ${entry}`);
  const block = index.entry(entry);
  if (block.kind !== entryKind.block || block.imageOffset !== offset || block.rawBytes !== length)
    throw bad(`entry ${entry} is not the block that its events say`);
}
