// Owns what mode `pool` means: an image with the journaling feature is mirrored by its journal for that alone, from when the pool
// goes into that mode or the image gets the feature, until either ends.
//
// Best effort where it follows something else: an image that was made and could not be mirrored, because the site died in
// between, is mirrored by the daily round (lib/site/housekeeping.ts), or by the next `mirror pool enable … pool`.

import { openHeader, readHeader } from '../../image/access.ts';
import type { ImageSpec } from '../../image/deps.ts';
import { ancestorsMax, type Header } from '../../image/header.ts';
import { updateFeatures } from '../../image/images.ts';
import type { MirrorDeps } from '../deps.ts';
import { enableImage, stopMirroring } from './images.ts';
import { mirrorOf, readPool, recentPool } from '../pool.ts';

export const hasJournaling = ({ features }: Pick<Header, 'features'>): boolean => features.includes('journaling');

/** A no that is remembered is asked for anew: what is made right after the pool went into the mode is before nobody's walk. */
export async function isByFeature(deps: MirrorDeps, { pool, namespace }: ImageSpec): Promise<boolean> {
  if (mirrorOf(await recentPool(deps, pool), namespace)?.mode === 'pool') return true;
  return mirrorOf((await readPool(deps, pool)).value, namespace)?.mode === 'pool';
}

/** Of an image that is new, or has a new feature; the parent of a clone goes first. EINVAL: that cannot be mirrored for its features. */
export async function mirrorByFeature(deps: MirrorDeps, spec: ImageSpec, ancestors = 0): Promise<void> {
  const { value } = await openHeader(deps, spec);
  if (!hasJournaling(value) || value.mirror || !(await isByFeature(deps, spec))) return;
  if (value.parent && ancestors < ancestorsMax) await mirrorParent(deps, value.parent.imageId, ancestors + 1);
  await enableImage(deps, spec, 'journal', { byFeature: true });
}

async function mirrorParent(deps: MirrorDeps, imageId: string, ancestors: number): Promise<void> {
  const parent = (await readHeader(deps, imageId))?.value;
  if (!parent || parent.mirror || parent.trash) return;
  await mirrorByFeature(deps, { pool: parent.pool, namespace: parent.namespace, image: parent.name }, ancestors);
}

/** Whatever way users made it (`born`, lib/image/deps.ts). That it is there does not depend on its being mirrored. */
export const mirrorBorn =
  (deps: MirrorDeps): NonNullable<MirrorDeps['born']> =>
  async (header) => {
    if (!hasJournaling(header)) return;
    const { pool, namespace, name } = header;
    await mirrorByFeature(deps, { pool, namespace, image: name }).catch(() => undefined); // see the head of this file
  };

/** `feature enable` and `feature disable`. In mode `pool` mirroring follows the journaling feature. */
export async function updateMirroredFeatures(
  deps: MirrorDeps,
  spec: ImageSpec,
  features: readonly string[],
  action: 'enable' | 'disable',
): Promise<void> {
  const isJournaling = features.includes('journaling');
  const { value: header, ...stored } = await openHeader(deps, spec);
  const ends = isJournaling && action === 'disable' && header.mirror?.mode === 'journal';
  if (!ends || !(await isByFeature(deps, spec))) {
    await updateFeatures(deps, spec, features, action);
    if (isJournaling && action === 'enable') await mirrorByFeature(deps, spec);
    return;
  }
  // Which takes the feature.
  await stopMirroring(deps, (await readPool(deps, spec.pool)).value, { ...stored, value: header });
  const others = features.filter((name) => name !== 'journaling');
  if (others.length > 0) await updateFeatures(deps, spec, others, action);
}
