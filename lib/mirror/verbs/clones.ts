// Owns what mirroring asks of a clone and its parent at the site where they are enabled and disabled: a mirrored clone has a
// mirrored parent, so that its replica can be a clone too. These are two headers; so enabling a clone rewrites its parent's
// header unchanged when it is done, and disabling a parent swaps the very version whose children it has looked at:
//
//   disable the parent                        enable the clone
//   reads the parent; the clone is not mirrored
//                                             the clone is mirrored (swap)
//                                             the parent still is: rewrites it
//   swap: refused; looks again: EBUSY

import { FarsideError } from '../../errors.ts';
import { readHeader, updateHeader } from '../../image/access.ts';
import { livingChildren } from '../../image/clones/children.ts';
import type { Header } from '../../image/header.ts';
import type { NameDeps } from '../../image/names.ts';
import type { PresentImage } from '../peer-protocol.ts';

const parentNotMirrored = (): FarsideError => new FarsideError('EINVAL', 'mirroring is not enabled for the parent');

/** EINVAL for a clone of an image that is not mirrored. */
export async function assertParentMirrored(deps: NameDeps, { parent }: Header): Promise<void> {
  if (parent && !(await readHeader(deps, parent.imageId))?.value.mirror) throw parentNotMirrored();
}

/** After the clone was enabled. EINVAL: its parent was disabled meanwhile. */
export async function confirmParentMirrored(deps: NameDeps, { parent }: Header): Promise<void> {
  if (!parent) return;
  const confirm = (header: Header): Header => {
    if (!header.mirror) throw parentNotMirrored();
    return { ...header };
  };
  await updateHeader(deps, parent.imageId, confirm, { byMirroring: true });
}

/** EBUSY for the parent of a mirrored clone. */
export async function assertNoMirroredChildren(deps: NameDeps, header: Header): Promise<void> {
  const children = await livingChildren(deps, header);
  if (children.some(({ mirror }) => mirror !== undefined))
    throw new FarsideError('EBUSY', 'mirroring is enabled on one or more children');
}

/** What a peer has to know to find its replica of the parent. One read, of a clone only. */
export async function describeParent(deps: NameDeps, { parent }: Header): Promise<PresentImage['parent']> {
  const stored = parent && (await readHeader(deps, parent.imageId));
  if (!stored) return undefined;
  const { imageId, pool, name, mirror } = stored.value;
  return { imageId, pool, name, ...(mirror && { globalId: mirror.globalId }) };
}
