// Owns what `du` counts. As in rbd, a snapshot's used size is what changed since the snapshot before it, and the head's what
// changed since the last one; so the sizes add up to what the image takes. Counted from the maps, without reading data.

import { openHead } from '../image/journal/fold.ts';
import type { ImageDeps, ImageSpec } from '../image/deps.ts';
import { walk } from '../image/map/diff.ts';
import { userSnapshots, type Header, type Root } from '../image/header.ts';
import { findUserSnapshot } from '../image/info.ts';
import { openStore, type Pack, type PackStore } from '../image/packs/pack-store.ts';

export type Usage = {
  name: string;
  id: string;
  snapshot?: string;
  snapshot_id?: number;
  provisioned_size: number;
  used_size: number;
};

const nodesPerStepMax = 4096;

type Point = { root: Root | null; sizeBytes: number; snapshot?: { name: string; id: number } };

/**
 * Snapshots in the order of their making, then the head; with `spec.snap`, up to that snapshot; with `fromSnap`, those after
 * that one. ENOENT as usual.
 */
export async function imageUsage(deps: ImageDeps, spec: ImageSpec, fromSnap?: string): Promise<Usage[]> {
  const { value: header } = await openHead(deps, spec);
  const store = openStore(deps, header);
  const usages: Usage[] = [];
  const from = fromSnap === undefined ? undefined : findUserSnapshot(header, fromSnap);
  // What a clone has from its parent is not charged to it.
  let before: Root | null = from ? from.root : (header.parent?.root ?? null);
  for (const point of points(header, spec.snap).filter(({ snapshot }) => !from || !snapshot || snapshot.id > from.id)) {
    usages.push({
      name: header.name,
      id: header.imageId,
      ...(point.snapshot ? { snapshot: point.snapshot.name, snapshot_id: point.snapshot.id } : {}),
      provisioned_size: point.sizeBytes,
      used_size: await changedBytes(store, header.objectBytes, point.root, before),
    });
    before = point.root;
  }
  return usages;
}

/** One row for each image: its snapshots are charged to what comes last. */
export function mergedUsages(usages: readonly Usage[]): Usage[] {
  const merged = new Map<string, Usage>();
  for (const usage of usages) {
    const { snapshot: _, snapshot_id: __, ...row } = usage;
    merged.set(usage.id, { ...row, used_size: row.used_size + (merged.get(usage.id)?.used_size ?? 0) });
  }
  return [...merged.values()];
}

function points(header: Header, snap: string | undefined): Point[] {
  const snapshots = userSnapshots(header).map(({ root, sizeBytes, name, id }): Point => ({
    root,
    sizeBytes,
    snapshot: { name, id },
  }));
  if (snap === undefined) return [...snapshots, { root: header.root, sizeBytes: header.sizeBytes }];
  const { id } = findUserSnapshot(header, snap);
  return snapshots.filter((point) => point.snapshot!.id <= id);
}

/** Bytes of image data in blocks that `root` reaches and `before` does not. */
async function changedBytes(
  store: PackStore,
  objectBytes: number,
  root: Root | null,
  before: Root | null,
): Promise<number> {
  if (before === null || root === null) return root?.usedBytes ?? 0;
  const blocks: { pack: Pack; entryIndex: number }[] = [];
  let bytes = 0;
  let fromOffset: number | null = 0;
  while (fromOffset !== null) {
    const onEntry = (pack: Pack, entryIndex: number, kind: 'block' | 'node'): void => {
      if (kind === 'block') blocks.push({ pack, entryIndex });
    };
    const { next }: { next: number | null } = await walk({
      store,
      objectBytes,
      wanted: [root],
      held: [before],
      fromOffset,
      nodesMax: nodesPerStepMax,
      onEntry,
    });
    for (const { pack, entryIndex } of blocks.splice(0)) bytes += (await store.index(pack)).entry(entryIndex).rawBytes;
    fromOffset = next;
  }
  return bytes;
}
