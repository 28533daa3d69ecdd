// Owns `mirror image test-failover`: a writable clone of a replica as it was at a mirror snapshot, made at once, while
// replication goes on. The clone holds that snapshot (lib/image/clones/lineage.ts): when retention lets go of it, it moves to the trash,
// and goes with the clean-up. A clone that was flattened is an image of its own, and no clean-up removes it.

import { FarsideError } from '../../errors.ts';
import { isNonPrimary, openHeader, updateHeader } from '../../image/access.ts';
import { livingChildren, unlinkFromParent } from '../../image/clones/children.ts';
import { cloneImage } from '../../image/clones/clone.ts';
import type { ImageDeps, ImageSpec } from '../../image/deps.ts';
import { mirrorSnapshots, type Header } from '../../image/header.ts';
import { linkedClonesText } from '../../image/images.ts';
import type { SnapshotRef } from '../../image/info.ts';
import { childrenOf } from '../../image/clones/lineage.ts';
import { isCopy } from '../roles/history.ts';
import type { Queue } from '../messages.ts';
import { mirroringNotEnabled } from '../roles/role-changes.ts';

type Deps = ImageDeps & { queue: Queue };

/** A newer snapshot may arrive between the choice and the clone. */
const triesMax = 5;

/** Without `snapshot`, of the newest one that is complete. EINVAL: not a replica. ENOENT: nothing was copied yet. */
export async function startTestFailover(
  deps: Deps,
  spec: ImageSpec,
  target: ImageSpec,
  snapshot?: SnapshotRef,
): Promise<{ id: string; snapshotId: number }> {
  for (let tries = 1; ; tries++) {
    const { value: header } = await openHeader(deps, spec);
    assertReplica(header);
    const ref = snapshot ?? { id: newestCopy(header) };
    try {
      const id = await cloneImage(deps, spec, ref, target, { cloneFormat: '2', isTest: true });
      const made = (await openHeader(deps, target)).value;
      return { id, snapshotId: made.parent?.snapshotId ?? 0 };
    } catch (error) {
      const isPruned = error instanceof FarsideError && error.code === 'ENOENT' && snapshot === undefined;
      if (!isPruned || tries === triesMax) throw error;
    }
  }
}

function assertReplica(header: Header): void {
  if (!header.mirror) throw new FarsideError(mirroringNotEnabled.code, mirroringNotEnabled.message);
  if (!isNonPrimary(header))
    throw new FarsideError(
      'EINVAL',
      'image is primary: a failover is tried out where its replica is; here, clone a snapshot',
    );
}

function newestCopy(header: Header): number {
  const copy = mirrorSnapshots(header).findLast((one) => isCopy(one) && one.namespace.complete);
  if (copy) return copy.id;
  throw new FarsideError(
    'ENOENT',
    'nothing was copied yet: there is no complete mirror snapshot to try a failover with',
  );
}

export type TestFailover = { pool: string; pool_namespace: string; image: string; id: string; snapshot_id: number };

export async function listTestFailovers(deps: Deps, spec: ImageSpec): Promise<TestFailover[]> {
  return (await testsOf(deps, spec)).map(({ pool, namespace, name, imageId, parent }) => ({
    pool,
    pool_namespace: namespace,
    image: name,
    id: imageId,
    snapshot_id: parent!.snapshotId,
  }));
}

async function testsOf(deps: Deps, spec: ImageSpec): Promise<Header[]> {
  const { value: header } = await openHeader(deps, spec);
  return (await livingChildren(deps, header)).filter(({ parent }) => parent?.isTest === true);
}

/** Removes the test clones of an image with their snapshots, or only the one of that id. ENOTEMPTY: one has clones itself. */
export async function cleanUpTestFailovers(
  deps: Deps,
  spec: ImageSpec,
  imageId?: string,
): Promise<{ removed: TestFailover[] }> {
  const listed = await listTestFailovers(deps, spec);
  const wanted = listed.filter(({ id }) => imageId === undefined || id === imageId);
  if (imageId !== undefined && wanted.length === 0)
    throw new FarsideError('ENOENT', `image ${imageId} is no test failover of ${spec.image}`);
  for (const { id } of wanted) await remove(deps, id);
  return { removed: wanted };
}

async function remove(deps: Deps, imageId: string): Promise<void> {
  const mark = (header: Header): Header => {
    if (header.parent?.isTest !== true)
      throw new FarsideError('ESTALE', `image ${header.name} was flattened meanwhile`);
    if (childrenOf(header).length > 0) throw new FarsideError('ENOTEMPTY', linkedClonesText);
    if (header.mirror)
      throw new FarsideError('EBUSY', `image ${header.name} is mirrored: disable mirroring of it first`);
    return { ...header, removing: true };
  };
  const { value } = await updateHeader(deps, imageId, mark, { byMirroring: true });
  await unlinkFromParent(deps, value);
  await deps.queue.send([{ type: 'remove', imageId }]);
}
