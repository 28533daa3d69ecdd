// Owns the tree from image offset to block: walking leaves, and rewriting paths. Nodes are immutable; a rewrite makes new
// nodes from the changed leaves up to a new root and shares everything else. `levels` count from the leaf (0) upwards.

import { FarsideError } from '../../errors.ts';
import { hash128 } from '../format/digest.ts';
import { levelMax, fanOut, sectorBytes, usedSectorsOf, type Child, type Extent, type Node } from '../format/node.ts';
import type { Root } from '../header.ts';
import { parsePackId } from '../ids.ts';
import { entryCountMax, packBytesMax } from '../format/pack.ts';
import type { Pack, PackStore } from '../packs/pack-store.ts';
import type { OpenPack } from '../packs/open-pack.ts';

/** A pack that may still be open. */
export type WritePack = Pack | OpenPack;
export type NodeRef<P = Pack> = { pack: P; entry: number; level: number; usedSectors: number };

/** What proves equal content: a reference commits to all that is below it. */
export function rootHash(pack: Pack, entry: number): string {
  const number = Buffer.alloc(4);
  number.writeUInt32LE(entry);
  return hash128(Buffer.from(pack.packId, 'hex'), number).toString('hex');
}

/** EBADMSG when the root contradicts itself, as one does that was damaged. */
export function rootRef(root: Root): NodeRef {
  const pack = { packId: parsePackId(root.pack), entryCount: root.entryCount, packBytes: root.packBytes };
  const isInRange = root.entry < root.entryCount && root.entryCount <= entryCountMax && root.packBytes <= packBytesMax;
  if (!isInRange || rootHash(pack, root.entry) !== root.hash)
    throw new FarsideError('EBADMSG', `damaged root in pack ${root.pack}: its fields contradict each other`);
  return { pack, entry: root.entry, level: root.level, usedSectors: root.usedBytes / sectorBytes };
}

/** Leaves that a node of a level covers. */
export const leavesAt = (level: number): number => fanOut ** level;

/** The lowest level whose node covers leaf number `leaf`. */
export function levelFor(leaf: number): number {
  let level = 0;
  while (leavesAt(level) <= leaf) level++;
  if (level > levelMax) throw new RangeError(`leaf ${leaf} lies beyond the largest map`);
  return level;
}

/** The children of `ref` as if it were a node of `level`: a lower root stands below virtual nodes, in slot 0. */
export async function childrenAt(store: PackStore, ref: NodeRef, level: number): Promise<Child<Pack>[]> {
  if (ref.level < level) return [{ slot: 0, pack: ref.pack, entry: ref.entry, usedSectors: ref.usedSectors }];
  return (await store.node(ref.pack, ref.entry, ref.level)).children;
}

/** A child as a reference; below a virtual node it is the lower root itself. */
export const childRef = (child: Child<Pack>, parent: NodeRef, level: number): NodeRef =>
  parent.level < level
    ? parent
    : { pack: child.pack, entry: child.entry, level: level - 1, usedSectors: child.usedSectors };

export type Leaf = { leaf: number; extents: Extent<Pack>[] };

/** The leaves with data among numbers `from` (inclusive) to `to` (exclusive), ascending. */
export async function* leaves(
  store: PackStore,
  ref: NodeRef | undefined,
  from: number,
  to: number,
  base = 0,
): AsyncGenerator<Leaf> {
  if (!ref) return;
  const node = await store.node(ref.pack, ref.entry, ref.level);
  if (ref.level === 0) {
    if (base >= from && base < to) yield { leaf: base, extents: node.extents };
    return;
  }
  const span = leavesAt(ref.level - 1);
  for (const child of node.children) {
    const start = base + child.slot * span;
    if (start + span <= from) continue;
    if (start >= to) return;
    yield* leaves(store, childRef(child, ref, ref.level), from, to, start);
  }
}

/** What becomes of one leaf. `extents` gets the old ones and answers the new ones; the same array means no change. */
export type LeafChange = { leaf: number; extents: (old: Extent<WritePack>[]) => Extent<WritePack>[] };

/** Takes finished nodes. `firstLeaf`: the number of the first leaf that the node covers. */
export type NodeSink = (node: Node<WritePack>, firstLeaf: number) => Promise<{ pack: WritePack; entry: number }>;

/** Applies changes (ascending by leaf) to a map and answers the new root; undefined: nothing but holes is left. */
export async function rewrite(
  store: PackStore,
  root: NodeRef | undefined,
  changes: readonly LeafChange[],
  sink: NodeSink,
): Promise<NodeRef<WritePack> | undefined> {
  const last = changes.at(-1);
  if (!last) return root;
  const level = Math.max(root?.level ?? 0, levelFor(last.leaf));
  return await rewriteNode({ store, sink, changes }, root, level, 0, { start: 0, end: changes.length });
}

type Rewriting = { store: PackStore; sink: NodeSink; changes: readonly LeafChange[] };
type Slice = { start: number; end: number };

async function rewriteNode(
  context: Rewriting,
  ref: NodeRef | undefined,
  level: number,
  base: number,
  slice: Slice,
): Promise<NodeRef<WritePack> | undefined> {
  if (level === 0) return await rewriteLeaf(context, ref, base, slice);
  const span = leavesAt(level - 1);
  const old = ref ? await childrenAt(context.store, ref, level) : [];
  const children: Child<WritePack>[] = [];
  let changed = ref === undefined || ref.level < level;
  let at = 0;
  let next = slice.start;
  while (at < old.length || next < slice.end) {
    const oldSlot = at < old.length ? old[at]!.slot : fanOut;
    const newSlot = next < slice.end ? Math.floor((context.changes[next]!.leaf - base) / span) : fanOut;
    if (oldSlot < newSlot) {
      children.push(await keepChild(context, old[at++]!, ref!, level));
      continue;
    }
    const end = endOfSlot(context.changes, next, slice.end, base + (newSlot + 1) * span);
    const child = oldSlot === newSlot ? old[at++] : undefined;
    const childOld = child && ref ? childRef(child, ref, level) : undefined;
    const made = await rewriteNode(context, childOld, level - 1, base + newSlot * span, { start: next, end });
    if (made) children.push({ slot: newSlot, pack: made.pack, entry: made.entry, usedSectors: made.usedSectors });
    if (made !== childOld) changed = true;
    next = end;
  }
  if (!changed) return ref;
  return await emit(context.sink, { level, extents: [], children }, base);
}

/** An untouched child stays as it is; a root more than one level lower gets the nodes between. */
async function keepChild(
  context: Rewriting,
  child: Child<Pack>,
  ref: NodeRef,
  level: number,
): Promise<Child<WritePack>> {
  if (ref.level >= level - 1) return child;
  const between = await rewriteNode(context, ref, level - 1, 0, { start: 0, end: 0 });
  return between ? { slot: 0, pack: between.pack, entry: between.entry, usedSectors: between.usedSectors } : child;
}

function endOfSlot(changes: readonly LeafChange[], start: number, end: number, leafEnd: number): number {
  let at = start;
  while (at < end && changes[at]!.leaf < leafEnd) at++;
  return at;
}

async function rewriteLeaf(
  context: Rewriting,
  ref: NodeRef | undefined,
  base: number,
  slice: Slice,
): Promise<NodeRef<WritePack> | undefined> {
  const old: Extent<WritePack>[] = ref ? (await context.store.node(ref.pack, ref.entry, ref.level)).extents : [];
  let extents = old;
  for (let i = slice.start; i < slice.end; i++) extents = context.changes[i]!.extents(extents);
  if (extents === old) return ref;
  return await emit(context.sink, { level: 0, extents, children: [] }, base);
}

async function emit(sink: NodeSink, node: Node<WritePack>, firstLeaf: number): Promise<NodeRef<WritePack> | undefined> {
  if (node.extents.length === 0 && node.children.length === 0) return undefined;
  const { pack, entry } = await sink(node, firstLeaf);
  return { pack, entry, level: node.level, usedSectors: usedSectorsOf(node) };
}

/** Drops everything at or beyond sector `endSector` (counted from the image's start). */
export async function truncate(
  store: PackStore,
  root: NodeRef | undefined,
  endSector: number,
  leafSectors: number,
  sink: NodeSink,
): Promise<NodeRef<WritePack> | undefined> {
  return root && (await truncateNode({ store, sink, endSector, leafSectors }, root, 0));
}

type Truncating = { store: PackStore; sink: NodeSink; endSector: number; leafSectors: number };

async function truncateNode(context: Truncating, ref: NodeRef, base: number): Promise<NodeRef<WritePack> | undefined> {
  const { endSector, leafSectors } = context;
  const firstSector = base * leafSectors;
  if (firstSector >= endSector) return undefined;
  if ((base + leavesAt(ref.level)) * leafSectors <= endSector) return ref;
  const node = await context.store.node(ref.pack, ref.entry, ref.level);
  if (ref.level === 0) {
    const extents = cut(node.extents, endSector - firstSector, leafSectors);
    return extents === node.extents ? ref : await emit(context.sink, { level: 0, extents, children: [] }, base);
  }
  const children: Child<WritePack>[] = [];
  let changed = false;
  for (const child of node.children) {
    const old = childRef(child, ref, ref.level);
    const made = await truncateNode(context, old, base + child.slot * leavesAt(ref.level - 1));
    if (made) children.push({ slot: child.slot, pack: made.pack, entry: made.entry, usedSectors: made.usedSectors });
    if (made !== old) changed = true;
  }
  return changed ? await emit(context.sink, { level: ref.level, extents: [], children }, base) : ref;
}

/** Removes sectors [start, end) from ascending extents. The same array when nothing was there. */
export function cut<P>(extents: Extent<P>[], start: number, end: number): Extent<P>[] {
  const first = firstEndingAfter(extents, start);
  if (first === extents.length || extents[first]!.sector >= end) return extents;
  const kept = extents.slice(0, first);
  let at = first;
  for (; at < extents.length && extents[at]!.sector < end; at++) {
    const extent = extents[at]!;
    const extentEnd = extent.sector + extent.sectors;
    if (extent.sector < start) kept.push({ ...extent, sectors: start - extent.sector });
    if (extentEnd > end)
      kept.push({ ...extent, sector: end, sectors: extentEnd - end, skip: extent.skip + end - extent.sector });
  }
  for (; at < extents.length; at++) kept.push(extents[at]!);
  return kept;
}

/** Puts one extent over ascending extents. */
export function overlay<P>(extents: Extent<P>[], added: Extent<P>): Extent<P>[] {
  const cleared = cut(extents, added.sector, added.sector + added.sectors);
  const at = firstEndingAfter(cleared, added.sector);
  return [...cleared.slice(0, at), added, ...cleared.slice(at)];
}

/** Index of the first extent that ends after a sector. */
export function firstEndingAfter(extents: readonly Extent<unknown>[], sector: number): number {
  let low = 0;
  let high = extents.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const extent = extents[middle]!;
    if (extent.sector + extent.sectors <= sector) low = middle + 1;
    else high = middle;
  }
  return low;
}
