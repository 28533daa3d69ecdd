// Owns the beginning and the end of a replica: made when its primary appears, removed when the primary says by a tombstone
// that mirroring was given up.
//
// The catalog entry comes first and decides the image id, so that two handlers that begin at the same time make one image:
//
//   sync                                      sync (repeated message)
//   catalog: no entry; adds G -> image 1
//                                             catalog: G -> image 1 is there
//   creates the header of image 1             create: exists; goes on with that one
//   claims the name                           claims the name: it is image 1's already
//
// The end goes the other way: header (`removing`: gone for everybody), catalog entry (`removing`: its id is not used again),
// objects, header, catalog entry. Whoever finds a half-done removal goes on with it.

import { createDocument, readDocument } from '../../bucket/document.ts';
import { keyText } from '../../bucket/keys.ts';
import type { Stored } from '../../bucket/document.ts';
import { readHeader, updateHeader } from '../../image/access.ts';
import { forgetGone } from '../../image/clones/children.ts';
import type { ImageSpec } from '../../image/deps.ts';
import { headerSchema, mirrorSnapshots } from '../../image/header.ts';
import type { Header } from '../../image/header.ts';
import { newImageId, parseImageId, type ImageId } from '../../image/ids.ts';
import { newHeader } from '../../image/images.ts';
import { childrenOf } from '../../image/clones/lineage.ts';
import { bearsName, checkSpec, claimName, freeName, headerKey, readName } from '../../image/names.ts';
import { optionOf } from '../../image/options.ts';
import { removeStep } from '../../image/remove.ts';
import { addToCatalog, markRemoving, removeFromCatalog } from '../peers/catalog.ts';
import type { Catalog, CatalogEntry } from '../peers/catalog.ts';
import { recentLevels } from '../config.ts';
import type { MirrorDeps } from '../deps.ts';
import { adopt, findKept } from './kept-replica.ts';
import type { PresentImage } from '../peer-protocol.ts';
import { promotionState } from '../roles/roles.ts';
import { deleteDelaySeconds, letGo, trashReplica } from '../verbs/trash.ts';

const specOf = (pool: string, remote: PresentImage): ImageSpec => ({
  pool,
  namespace: remote.namespace,
  image: remote.name,
});

/** Whether an image here has the name that the replica would get. */
export async function isNameTaken(deps: MirrorDeps, pool: string, remote: PresentImage): Promise<boolean> {
  const spec = specOf(pool, remote);
  checkSpec(spec);
  const imageId = await readName(deps, spec);
  const stored = imageId && (await readHeader(deps, imageId));
  return stored ? bearsName(stored.value, spec) : false;
}

/** An empty image in state `creating`, read-only and without content until its first sync is complete. */
export async function createReplica(
  deps: MirrorDeps,
  pool: string,
  globalId: string,
  remote: PresentImage,
  seen?: Stored<Catalog>,
): Promise<Stored<Header> | 'name-taken' | 'busy'> {
  const spec = specOf(pool, remote);
  const addedAtMs = deps.clock.nowMs();
  const kept = await findKept(deps, { spec, globalId, remote }, seen);
  const mine: CatalogEntry = {
    imageId: kept ?? newImageId(deps.random),
    namespace: spec.namespace,
    name: spec.image,
    addedAtMs,
    replica: true,
  };
  const entry = await addToCatalog(deps, pool, globalId, mine, seen);
  if (entry.removing) return 'busy';
  const imageId = parseImageId(entry.imageId);
  const stored =
    imageId === kept
      ? await adopted(deps, imageId, { spec, globalId, remote }, mine)
      : await created(deps, imageId, { spec, globalId, remote });
  if (stored?.value.mirror?.globalId !== globalId) return 'busy';
  if (await holdsName(deps, stored)) return stored;
  await removeReplica(deps, pool, globalId, stored, { stays: stored.value.formerly !== undefined });
  return 'name-taken';
}

type Birth = { spec: ImageSpec; globalId: string; remote: PresentImage };

async function created(
  deps: MirrorDeps,
  imageId: ImageId,
  { spec, globalId, remote }: Birth,
): Promise<Stored<Header> | undefined> {
  const empty = newHeader(deps, spec, imageId, {
    sizeBytes: 0,
    objectBytes: remote.objectBytes,
    dataPool: await dataPoolOf(deps, spec.pool, remote),
    initial: { mirror: { mode: remote.mode, state: 'creating', globalId } },
  });
  const made = await createDocument(deps.bucket, headerKey(imageId), empty, deps.random);
  return made ?? (await readHeader(deps, imageId));
}

/** Undefined: the one that was kept is not any more. The entry may have been dropped as one without a replica: then it is made again. */
async function adopted(
  deps: MirrorDeps,
  imageId: ImageId,
  birth: Birth,
  mine: CatalogEntry,
): Promise<Stored<Header> | undefined> {
  const { pool } = birth.spec;
  const stored = await adopt(deps, imageId, birth);
  if (stored) await addToCatalog(deps, pool, birth.globalId, mine);
  else await removeFromCatalog(deps, pool, birth.globalId, imageId);
  return stored;
}

/** As Ceph chooses: the pool's default, else the pool that is called like the primary's, else none. */
async function dataPoolOf(deps: MirrorDeps, pool: string, { snapshots }: PresentImage): Promise<string | undefined> {
  const wanted = [
    optionOf('rbd_default_data_pool', await recentLevels(deps, pool)),
    snapshots.at(-1)?.namespace.image.dataPool ?? '',
  ];
  for (const name of wanted) {
    if (name === '' || name === pool) continue;
    if (await deps.bucket.head(keyText({ kind: 'pool', pool: name }))) return name;
  }
  return undefined;
}

/** A replica that is still being made may have died before it had its name. */
export async function holdsName(deps: MirrorDeps, { value }: Stored<Header>): Promise<boolean> {
  const spec: ImageSpec = { pool: value.pool, namespace: value.namespace, image: value.name };
  return (await claimName(deps, spec, parseImageId(value.imageId))) === 'claimed';
}

/**
 * Only what is a mere copy; a complete one to the trash, when it is to be kept for a while. `stays`: its primary lives on. `more`: call
 * again; clones of it here may be in the way.
 */
export async function removeReplica(
  deps: MirrorDeps,
  pool: string,
  globalId: string,
  stored: Stored<Header>,
  { stays = false }: { stays?: boolean } = {},
): Promise<'done' | 'more'> {
  const now = childrenOf(stored.value).length > 0 ? await forgetGone(deps, stored.value) : stored.value;
  const isWorthKeeping = now.mirror?.state === 'enabled' || now.formerly !== undefined;
  const delaySeconds = isWorthKeeping ? await deleteDelaySeconds(deps, now, stays) : 0;
  // One that may come back keeps its clones, which may be replicas that are kept themselves.
  if (childrenOf(now).length > 0 && !(stays && delaySeconds > 0)) return 'more';
  if (delaySeconds > 0) {
    const isOurs = (header: Header): boolean =>
      isRemovable(header, globalId) && (stays || childrenOf(header).length === 0);
    await trashReplica(deps, stored, { delaySeconds, stays, isOurs });
    return 'done';
  }
  const { value } = await updateHeader(deps, stored, (header) => removingHeader(header, globalId), {
    byMirroring: true,
  });
  if (value.removing) return continueRemoval(deps, pool, globalId, value.imageId);
  return childrenOf(value).length > 0 ? 'more' : 'done';
}

/** Undefined when it has clones too. */
const removingHeader = (header: Header, globalId: string): Header | undefined =>
  isRemovable(header, globalId) && childrenOf(header).length === 0 ? { ...header, removing: true } : undefined;

/** Not when it was promoted, or mirroring of it was disabled, meanwhile: then it is not ours to remove. */
function isRemovable(header: Header, globalId: string): boolean {
  const snapshots = mirrorSnapshots(header);
  const isCopy = snapshots.length === 0 || promotionState(snapshots) === 'non-primary';
  return header.mirror?.globalId === globalId && isCopy && !header.removing;
}

async function continueRemoval(
  deps: MirrorDeps,
  pool: string,
  globalId: string,
  imageId: string,
): Promise<'done' | 'more'> {
  await markRemoving(deps, pool, globalId, imageId);
  const header = await readDocument(deps.bucket, headerKey(imageId), headerSchema);
  if (header) {
    const { namespace, name } = header.value;
    await freeName(deps, { pool, namespace, image: name }, imageId);
    if ((await removeStep(deps, imageId)) === 'more') {
      await deps.queue.send([{ type: 'remove', imageId }]);
      return 'more';
    }
  }
  await removeFromCatalog(deps, pool, globalId, imageId);
  return 'done';
}

/** Goes on with a removal that died. `entry`: the catalog's, of an image that is not there. */
export async function finishRemoval(
  deps: MirrorDeps,
  pool: string,
  globalId: string,
  entry: CatalogEntry,
): Promise<'done' | 'more'> {
  const header = entry.removing ? undefined : await readDocument(deps.bucket, headerKey(entry.imageId), headerSchema);
  if (header?.value.trash) await letGo(deps, header.value, globalId);
  return entry.removing || header?.value.removing ? continueRemoval(deps, pool, globalId, entry.imageId) : 'done';
}
