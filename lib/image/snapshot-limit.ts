// Owns how many user snapshots an image may have: rbd's `snap limit`. It is part of the image, so replicas get it with the next
// mirror snapshot. Mirror snapshots and those in the trash do not count: mirroring never fails for a user's limit.

import { FarsideError } from '../errors.ts';
import { updateHeader, type HeaderTarget } from './access.ts';
import { userSnapshots, type Header } from './header.ts';
import type { NameDeps } from './names.ts';

/** Undefined takes the limit away. ERANGE: the image has more snapshots than that. EROFS: it is non-primary. */
export async function setSnapshotLimit(
  deps: NameDeps,
  target: HeaderTarget,
  limitCount: number | undefined,
): Promise<void> {
  await updateHeader(deps, target, (header) => {
    if (header.snapshotLimit === limitCount) return undefined;
    const count = userSnapshots(header).length;
    if (limitCount !== undefined && limitCount < count)
      throw new FarsideError('ERANGE', `image ${header.name} has ${count} snapshots: remove some first`);
    return withSnapshotLimit(header, limitCount);
  });
}

export function withSnapshotLimit(header: Header, limitCount: number | undefined): Header {
  const { snapshotLimit: _, ...rest } = header;
  return limitCount === undefined ? rest : { ...rest, snapshotLimit: limitCount };
}

/** EDQUOT when one more would be too many. */
export function assertBelowLimit({ name, snapshotLimit }: Header, count: number): void {
  if (snapshotLimit === undefined || count < snapshotLimit) return;
  throw new FarsideError(
    'EDQUOT',
    `image ${name} may have ${snapshotLimit} snapshots: remove some, or raise it with 'farside snap limit set'`,
  );
}
