// Owns the map node format (docs/format.md, "Map node"). Pure: no I/O. A leaf covers one RBD object and lists extents; an
// inner node covers 256 times what its children cover and lists them. Nodes refer to packs through a table of their own, in
// which sixteen zero bytes stand for the very pack that holds the node.
//
// A pack that was born as a journal segment lies in its slot; version 2 of the table says in which. It is a place to look, not
// a part of the identity: a replica may keep the pack among its other packs.

import { FarsideError } from '../../errors.ts';
import { hashBytes } from './digest.ts';
import { parseEpochId, parsePackId, type EpochId, type PackId } from '../ids.ts';
import { entryCountMax, packBytesMax } from './pack.ts';
import { ByteReader, ByteWriter } from './varint.ts';

export const sectorBytes = 512;
export const fanOut = 256;
export const levelMax = 7;
const plainVersion = 1;
const slotVersion = 2;
/** After a pack's sizes, in version 2: whether a slot follows. */
const noSlot = 0;
const inSlot = 1;
const epochBytes = 8;

/** Where a journal segment lies: `journal/{epoch}/{seq}` of the image that it was written to. */
export type Slot = { epoch: EpochId; seq: number };

/** A pack as references see it. `entryCount` and `packBytes` are of the complete pack. `self`: the pack that holds the node. */
export type PackRef = { packId: PackId; entryCount: number; packBytes: number; slot?: Slot } | 'self';

/** `sectors` sectors of image data at `sector` (counted from the leaf's start), found `skip` sectors into an entry. */
export type Extent<P = PackRef> = { sector: number; sectors: number; pack: P; entry: number; skip: number };

export type Child<P = PackRef> = { slot: number; pack: P; entry: number; usedSectors: number };

export type Node<P = PackRef> = { level: number; extents: Extent<P>[]; children: Child<P>[] };

const selfId = Buffer.alloc(hashBytes);
const bad = (what: string): FarsideError => new FarsideError('EBADMSG', `damaged map node: ${what}`);

class PackTable {
  readonly refs: PackRef[] = [];
  readonly #positions = new Map<string, number>();

  position(ref: PackRef): number {
    const key = ref === 'self' ? '' : ref.packId;
    let position = this.#positions.get(key);
    if (position === undefined) {
      position = this.refs.length;
      this.refs.push(ref);
      this.#positions.set(key, position);
    }
    return position;
  }
}

/** Extents must ascend without overlap; children must ascend by slot. */
export function encodeNode(node: Node): Buffer {
  const table = new PackTable();
  const items = node.level === 0 ? node.extents : node.children;
  const positions = items.map((item) => table.position(item.pack));
  const out = new ByteWriter();
  const hasSlots = table.refs.some((ref) => ref !== 'self' && ref.slot);
  out.byte(hasSlots ? slotVersion : plainVersion);
  out.byte(node.level);
  out.varint(table.refs.length);
  for (const ref of table.refs) {
    writePackRef(out, ref);
    if (hasSlots) writeSlot(out, ref === 'self' ? undefined : ref.slot);
  }
  out.varint(items.length);
  const expected = new Array<number>(table.refs.length).fill(0);
  let end = 0;
  for (const [i, item] of items.entries()) {
    const position = positions[i]!;
    if ('slot' in item) {
      out.varint(item.slot - end);
      end = item.slot + 1;
    } else {
      out.varint(item.sector - end);
      out.varint(item.sectors);
      end = item.sector + item.sectors;
    }
    out.varint(position);
    out.signed(item.entry - expected[position]!);
    expected[position] = item.entry + 1;
    out.varint('slot' in item ? item.usedSectors : item.skip);
  }
  return out.finish();
}

function writePackRef(out: ByteWriter, ref: PackRef): void {
  out.raw(ref === 'self' ? selfId : Buffer.from(ref.packId, 'hex'));
  out.varint(ref === 'self' ? 0 : ref.entryCount);
  out.varint(ref === 'self' ? 0 : ref.packBytes);
}

function writeSlot(out: ByteWriter, slot: Slot | undefined): void {
  out.byte(slot ? inSlot : noSlot);
  if (!slot) return;
  out.raw(Buffer.from(slot.epoch, 'hex'));
  out.varint(slot.seq);
}

function readSlot(input: ByteReader): Slot | undefined {
  const mark = input.byte();
  if (mark === noSlot) return undefined;
  if (mark !== inSlot) throw bad('a pack lies in no known place');
  return { epoch: parseEpochId(input.raw(epochBytes).toString('hex')), seq: input.varint() };
}

/** Throws EBADMSG on what is no node, so that whatever comes back is one that `encodeNode` takes. */
export function decodeNode(data: Uint8Array, leafSectors: number): Node {
  const input = new ByteReader(Buffer.from(data.buffer, data.byteOffset, data.byteLength));
  const version = input.byte();
  if (version !== plainVersion && version !== slotVersion) throw bad('unknown version');
  const level = input.byte();
  if (level > levelMax) throw bad('level out of range');
  const table = readPackTable(input, version);
  const itemCount = input.varint();
  if (itemCount === 0 || itemCount > input.remaining) throw bad('item count out of range');
  const node: Node = { level, extents: [], children: [] };
  const expected = new Array<number>(table.length).fill(0);
  let end = 0;
  for (let i = 0; i < itemCount; i++) {
    const start = end + input.varint();
    const sectors = level === 0 ? input.varint() : 1;
    end = start + sectors;
    if (sectors === 0 || end > (level === 0 ? leafSectors : fanOut))
      throw bad('an item lies outside the range that the node covers');
    const position = input.varint();
    const pack = table[position];
    if (pack === undefined) throw bad('an item names no pack');
    const entry = expected[position]! + input.signed();
    if (entry < 0 || (pack !== 'self' && entry >= pack.entryCount)) throw bad('an item names no entry');
    expected[position] = entry + 1;
    const last = input.varint();
    if (level === 0) node.extents.push({ sector: start, sectors, pack, entry, skip: last });
    else node.children.push({ slot: start, pack, entry, usedSectors: last });
  }
  if (input.remaining > 0) throw bad('bytes follow its end');
  return node;
}

function readPackTable(input: ByteReader, version: number): PackRef[] {
  const packCount = input.varint();
  if (packCount === 0 || packCount * hashBytes > input.remaining) throw bad('pack count out of range');
  const table: PackRef[] = [];
  for (let i = 0; i < packCount; i++) {
    const id = input.raw(hashBytes);
    const entryCount = input.varint();
    const packBytes = input.varint();
    const isSelf = id.equals(selfId);
    if (isSelf ? entryCount + packBytes > 0 : entryCount > entryCountMax || packBytes > packBytesMax)
      throw bad('a pack is larger than any writer makes');
    const slot = version === slotVersion ? readSlot(input) : undefined;
    if (isSelf && slot) throw bad('the pack that holds it lies in no slot of its own');
    const ref = { packId: parsePackId(id.toString('hex')), entryCount, packBytes };
    table.push(isSelf ? 'self' : slot ? { ...ref, slot } : ref);
  }
  return table;
}

/** Sectors of image data below a node. */
export function usedSectorsOf(node: Node<unknown>): number {
  let sectors = 0;
  for (const extent of node.extents) sectors += extent.sectors;
  for (const child of node.children) sectors += child.usedSectors;
  return sectors;
}
