// Owns the replica that is kept when its primary gives mirroring up but lives on: it waits in the trash for a bounded time, and comes
// back when the same image is mirrored again, in whatever mode and under whatever name. Then the next sync copies what changed since.
//
// The two are linked by global ids: the primary's header says what it was mirrored as before (lib/image/formerly.ts), the trashed
// header whose replica it was (`trash.replicaOf`), and the catalog where that one is (`kept`, a hint). The header decides:
//
//   sync of the new global id G              tick, the time is over            trash restore
//   catalog: G -> image 1
//                                            swap: image 1 is being removed    or: swap: an ordinary image
//   swap: image 1 is G's replica: refused
//   catalog: no entry of G; tries again, and makes a new replica
//
//   sync (G)                                 sync (G, repeated)
//   catalog: G -> image 1
//                                            G has an entry without a replica: drops it
//   swap: image 1 is G's replica
//   catalog: G -> image 1, once more         finds image 1, G's replica already: catalog: G -> image 1

import type { Stored } from '../../bucket/document.ts';
import { FarsideError } from '../../errors.ts';
import { readHeader, updateHeader } from '../../image/access.ts';
import type { ImageSpec } from '../../image/deps.ts';
import type { Header, Mirror } from '../../image/header.ts';
import { parseImageId, type ImageId } from '../../image/ids.ts';
import { dropEntry } from '../../image/trash.ts';
import { keptIn, type Catalog } from '../peers/catalog.ts';
import type { DocumentDeps } from '../limits.ts';
import type { PresentImage } from '../peer-protocol.ts';

type Kept = { spec: ImageSpec; globalId: string; remote: PresentImage };

/** The image that can become the replica again. Costs nothing where the primary was not mirrored before. */
export async function findKept(
  deps: DocumentDeps,
  { spec, globalId, remote }: Kept,
  seen: Stored<Catalog> | undefined,
): Promise<ImageId | undefined> {
  const formerIds = (remote.formerly ?? []).map((former) => former.globalId);
  // One that came back and was put away again bears the new id.
  for (const id of formerIds.length > 0 ? [globalId, ...formerIds.toReversed()] : []) {
    const imageId = await keptIn(deps, spec.pool, id, seen);
    const header = imageId === undefined ? undefined : (await readHeader(deps, imageId))?.value;
    const isIts = header?.trash?.replicaOf === id || header?.mirror?.globalId === globalId;
    if (header && isIts && isSuitable(header, { spec, remote })) return parseImageId(header.imageId);
  }
  return undefined;
}

const isSuitable = (header: Header, { spec, remote }: Omit<Kept, 'globalId'>): boolean =>
  header.pool === spec.pool && header.namespace === spec.namespace && header.objectBytes === remote.objectBytes;

/** Undefined: it was removed or restored meanwhile. Without a name until that is claimed. */
export async function adopt(
  deps: DocumentDeps,
  imageId: ImageId,
  { spec, globalId, remote }: Kept,
): Promise<Stored<Header> | undefined> {
  const mirror: Mirror = { mode: remote.mode, state: 'creating', globalId };
  let entry: Header | undefined;
  const change = (header: Header): Header | undefined => {
    entry = header.trash?.replicaOf === undefined ? undefined : header;
    const { trash: _, ...rest } = header;
    return entry && { ...rest, name: spec.image, mirror };
  };
  try {
    const stored = await updateHeader(deps, imageId, change, { byMirroring: true });
    if (entry?.trash) await dropEntry(deps, entry, entry.trash);
    return stored.value.mirror?.globalId === globalId ? stored : undefined;
  } catch (error) {
    if (error instanceof FarsideError && error.code === 'ENOENT') return undefined;
    throw error;
  }
}
