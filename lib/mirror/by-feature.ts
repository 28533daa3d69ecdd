// Owns what mode `pool` means: an image with the journaling feature is mirrored by its journal for that alone, from when the pool
// goes into that mode or the image gets the feature, until either ends.
//
// Best effort where it follows something else: an image that was made and could not be mirrored, because the site died in
// between, is mirrored by the next `mirror pool enable … pool`, which may be repeated.

import pLimit from 'p-limit';

import { FarsideError } from '../errors.ts';
import { openHeader } from '../image/access.ts';
import type { ImageSpec } from '../image/deps.ts';
import type { Header } from '../image/header.ts';
import { listImages, updateFeatures } from '../image/images.ts';
import type { MirrorDeps } from './deps.ts';
import { enableImage, stateOf, stopMirroring } from './images.ts';
import { mirrorOf, readPool, recentPool } from './pool.ts';

/** Images changed at once. */
const imagesAtOnce = 8;
/** Pages of a thousand names. */
const pagesMax = 1000;

const hasJournaling = ({ features }: Pick<Header, 'features'>): boolean => features.includes('journaling');

const isByFeature = async (deps: MirrorDeps, { pool, namespace }: ImageSpec): Promise<boolean> =>
  mirrorOf(await recentPool(deps, pool), namespace)?.mode === 'pool';

/** Of an image that is new, or has a new feature. */
export async function mirrorByFeature(deps: MirrorDeps, spec: ImageSpec): Promise<void> {
  if (!(await isByFeature(deps, spec))) return;
  const { value } = await openHeader(deps, spec);
  if (hasJournaling(value) && !value.mirror) await enableImage(deps, spec, 'journal', { byFeature: true });
}

/** Every image of a namespace that has gone into mode `pool`. */
export const mirrorAllByFeature = (deps: MirrorDeps, pool: string, namespace: string): Promise<void> =>
  forEachImage(deps, pool, namespace, async (spec, header) => {
    if (hasJournaling(header) && !header.mirror) await enableImage(deps, spec, 'journal', { byFeature: true });
  });

/** The end of mode `pool`: primaries that are mirrored for their feature lose it, as with rbd. */
export async function stopAllByFeature(deps: MirrorDeps, pool: string, namespace: string): Promise<void> {
  const value = (await readPool(deps, pool)).value;
  await forEachImage(deps, pool, namespace, async (spec, header) => {
    if (header.mirror?.mode === 'journal' && stateOf(header) === 'primary')
      await stopMirroring(deps, value, await openHeader(deps, spec));
  });
}

async function forEachImage(
  deps: MirrorDeps,
  pool: string,
  namespace: string,
  work: (spec: ImageSpec, header: Header) => Promise<void>,
): Promise<void> {
  const limit = pLimit(imagesAtOnce);
  let after: string | undefined;
  for (let pages = 0; pages < pagesMax; pages++) {
    const page = await listImages(deps, pool, namespace, { after });
    const names = [...new Set(page.images.map(({ image }) => image))];
    await Promise.all(
      names.map((image) =>
        limit(async () => {
          const spec = { pool, namespace, image };
          const stored = await openHeader(deps, spec).catch(ignoreGone);
          if (stored) await work(spec, stored.value);
        }),
      ),
    );
    if (page.next === undefined) return;
    after = page.next;
  }
}

function ignoreGone(error: unknown): undefined {
  if (!(error instanceof FarsideError) || error.code !== 'ENOENT') throw error;
}

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
