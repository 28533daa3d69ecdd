// Owns the comparison of trees: the entries that some roots reach and others do not. This one walk cuts deltas, marks for
// collection (nothing held) and finds what a new root adds. It skips equal references, so its cost is what differs.
//
// It goes through all trees side by side, in order of image offset, and stops after `nodesMax` nodes; the offset it answers
// lets another invocation go on. A node is reported by the step that enters its range from the start.

import type { Root } from '../header.ts';
import { childRef, childrenAt, leavesAt, rootRef, type NodeRef } from './map.ts';
import type { Extent } from '../format/node.ts';
import type { Pack, PackStore } from '../packs/pack-store.ts';

export type WalkOptions = {
  store: PackStore;
  objectBytes: number;
  wanted: readonly (Root | null)[];
  held: readonly (Root | null)[];
  /** Image offset to go on from: 0, or what an earlier step answered. */
  fromOffset: number;
  /** Nodes of the wanted trees read by this step, at least one leaf. */
  nodesMax: number;
  /** Called once per entry and step. */
  onEntry: (pack: Pack, entryIndex: number, kind: 'block' | 'node') => void;
};

/** `next`: the image offset for the following step; null when the walk is complete. */
export type WalkResult = { next: number | null; nodes: number };

type Walking = WalkOptions & { fromLeaf: number; nodes: number; leavesSeen: number; next: number | null };

export async function walk(options: WalkOptions): Promise<WalkResult> {
  const wanted = distinct(options.wanted.flatMap((root) => (root ? [rootRef(root)] : [])));
  const held = distinct(options.held.flatMap((root) => (root ? [rootRef(root)] : [])));
  const level = Math.max(0, ...wanted.map((ref) => ref.level), ...held.map((ref) => ref.level));
  const walking: Walking = {
    ...options,
    fromLeaf: options.fromOffset / options.objectBytes,
    nodes: 0,
    leavesSeen: 0,
    next: null,
  };
  await visit(walking, level, 0, wanted, held);
  return { next: walking.next, nodes: walking.nodes };
}

const keyOf = (ref: { pack: Pack; entry: number }): string => `${ref.pack.packId}/${ref.entry}`;

const distinct = <T extends { pack: Pack; entry: number }>(refs: readonly T[]): T[] => [
  ...new Map(refs.map((ref) => [keyOf(ref), ref])).values(),
];

function without(wanted: readonly NodeRef[], held: readonly NodeRef[]): NodeRef[] {
  if (held.length === 0) return [...wanted];
  const keys = new Set(held.map(keyOf));
  return wanted.filter((ref) => !keys.has(keyOf(ref)));
}

async function visit(
  walking: Walking,
  level: number,
  firstLeaf: number,
  wanted: NodeRef[],
  held: NodeRef[],
): Promise<void> {
  const fresh = without(wanted, held);
  if (fresh.length === 0) return;
  if (firstLeaf >= walking.fromLeaf)
    for (const ref of fresh) if (ref.level === level) walking.onEntry(ref.pack, ref.entry, 'node');
  walking.nodes += fresh.length;
  if (level === 0) return await visitLeaf(walking, fresh, held);
  const span = leavesAt(level - 1);
  const wantedBySlot = await bySlot(walking.store, fresh, level);
  const heldBySlot = await bySlot(walking.store, held, level);
  for (const slot of [...wantedBySlot.keys()].toSorted((a, b) => a - b)) {
    const start = firstLeaf + slot * span;
    if (start + span <= walking.fromLeaf) continue;
    if (walking.nodes >= walking.nodesMax && walking.leavesSeen > 0) {
      walking.next = start * walking.objectBytes;
      return;
    }
    await visit(walking, level - 1, start, distinct(wantedBySlot.get(slot)!), distinct(heldBySlot.get(slot) ?? []));
    if (walking.next !== null) return;
  }
}

async function bySlot(store: PackStore, refs: readonly NodeRef[], level: number): Promise<Map<number, NodeRef[]>> {
  const slots = new Map<number, NodeRef[]>();
  for (const ref of refs) {
    for (const child of await childrenAt(store, ref, level)) {
      const list = slots.get(child.slot);
      if (list) list.push(childRef(child, ref, level));
      else slots.set(child.slot, [childRef(child, ref, level)]);
    }
  }
  return slots;
}

async function visitLeaf(walking: Walking, fresh: readonly NodeRef[], held: readonly NodeRef[]): Promise<void> {
  walking.leavesSeen++;
  const seen = new Set<string>();
  for (const ref of held) for (const extent of await extentsOf(walking.store, ref)) seen.add(keyOf(extent));
  for (const ref of fresh) {
    for (const extent of await extentsOf(walking.store, ref)) {
      const key = keyOf(extent);
      if (seen.has(key)) continue;
      seen.add(key);
      walking.onEntry(extent.pack, extent.entry, 'block');
    }
  }
}

const extentsOf = async (store: PackStore, ref: NodeRef): Promise<Extent<Pack>[]> =>
  (await store.node(ref.pack, ref.entry, ref.level)).extents;
