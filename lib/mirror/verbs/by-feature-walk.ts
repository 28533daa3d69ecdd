// Owns the way through all images of a namespace that is in mode `pool`: which are to be mirrored for their features, and at the end
// of the mode, which are to be so no more. Bounded for each invocation (I10). How far the first is stands in the pool's document,
// which every tick reads anyway, so a lost message costs a minute:
//
//   mirror pool enable p pool              message, or tick
//   swap: mode pool, walk from the start
//   looks at the first few; swap: walk on after them
//                                          looks at the next; swap: walk on after those … until there are none
//
// Two at once do the same twice, which changes nothing.

import pLimit from 'p-limit';

import { allDone } from '../../all-done.ts';
import { FarsideError } from '../../errors.ts';
import { readHeader } from '../../image/access.ts';
import { ancestorsMax, type Header } from '../../image/header.ts';
import { listImages } from '../../image/images.ts';
import { mirrorByFeature } from './by-feature.ts';
import { readCatalog } from '../peers/catalog.ts';
import type { MirrorDeps } from '../deps.ts';
import { stateOf, stopMirroring } from './images.ts';
import type { Message, Outcome } from '../messages.ts';
import { mirroredNamespaces, mirrorOf, readPool, updatePool, withMirror } from '../pool.ts';
import type { NamespaceMirror, Pool } from '../pool.ts';

/** Images changed at once. */
const imagesAtOnce = 8;
/** Headers read for one that is changed, at most. */
const looksPerImage = 10;

/** From the first image on, the first few at once. */
export async function beginWalk(deps: MirrorDeps, pool: string, namespace: string): Promise<void> {
  await updatePool(deps, pool, (now) => walkingFrom(now, namespace, () => ''));
  await walkOn(deps, pool, namespace, deps.limits.featureImagesHereMax);
}

/** For the tick. Costs nothing where no walk is under way. */
export async function walkAll(deps: MirrorDeps, pool: Pool): Promise<void> {
  for (const { name, walkAfter } of mirroredNamespaces(pool))
    if (walkAfter !== undefined) await walkOn(deps, pool.name, name, deps.limits.featureImagesMax);
}

export async function handleByFeature(
  deps: MirrorDeps,
  { pool, namespace, image }: Extract<Message, { type: 'by-feature' }>,
): Promise<Outcome> {
  if (image === undefined) await walkOn(deps, pool, namespace, deps.limits.featureImagesMax);
  else await mirrorIfPossible(deps, pool, namespace, image);
  return { kind: 'ack' };
}

async function walkOn(deps: MirrorDeps, pool: string, namespace: string, imagesMax: number): Promise<void> {
  const from = mirrorOf((await readPool(deps, pool)).value, namespace);
  if (from?.mode !== 'pool' || from.walkAfter === undefined) return;
  const after = from.walkAfter === '' ? undefined : from.walkAfter;
  const page = await listImages(deps, pool, namespace, { after, limit: imagesMax });
  await atOnce(new Set(page.images.map(({ image }) => image)), (image) =>
    mirrorIfPossible(deps, pool, namespace, image),
  );
  await updatePool(deps, pool, (now) =>
    walkingFrom(now, namespace, ({ walkAfter }) => (walkAfter === from.walkAfter ? page.next : walkAfter)),
  );
  if (page.next !== undefined) await deps.queue.send([{ type: 'by-feature', pool, namespace }]);
}

function walkingFrom(
  pool: Pool,
  namespace: string,
  next: (mirror: NamespaceMirror) => string | undefined,
): Pool | undefined {
  const mirror = mirrorOf(pool, namespace);
  if (mirror?.mode !== 'pool') return undefined;
  const walkAfter = next(mirror);
  if (walkAfter === mirror.walkAfter) return undefined;
  const { walkAfter: _, ...rest } = mirror;
  return withMirror(pool, namespace, walkAfter === undefined ? rest : { ...rest, walkAfter });
}

/** One that cannot be mirrored (a clone whose parent is not) stays as it is, and so does one that is gone. */
async function mirrorIfPossible(deps: MirrorDeps, pool: string, namespace: string, image: string): Promise<void> {
  try {
    await mirrorByFeature(deps, { pool, namespace, image });
  } catch (error) {
    if (!(error instanceof FarsideError) || error.retry !== 'never') throw error;
  }
}

async function atOnce<T>(items: Iterable<T>, work: (item: T) => Promise<void>): Promise<void> {
  const limit = pLimit(imagesAtOnce);
  await allDone([...items].map((item) => limit(() => work(item))));
}

/**
 * The end of mode `pool`: primaries that are mirrored for their feature lose it, as with rbd. Clones before their parents. EAGAIN:
 * there are more.
 */
export async function stopAllByFeature(deps: MirrorDeps, pool: string, namespace: string): Promise<void> {
  const { value } = await readPool(deps, pool);
  const { featureImagesMax } = deps.limits;
  const entries = Object.values(await readCatalog(deps, pool)).filter((entry) => entry.namespace === namespace);
  const looked = new Set(entries.slice(0, looksPerImage * featureImagesMax).map(({ imageId }) => imageId));
  let left: string[] = [...looked];
  let stoppedCount = 0;
  for (let passes = 0; passes <= ancestorsMax && left.length > 0; passes++) {
    const busy: string[] = [];
    await atOnce(left, async (imageId) => {
      const stored = await readHeader(deps, imageId);
      if (!stored || !isByItsJournal(stored.value)) return;
      if (stoppedCount >= featureImagesMax) throw more(stoppedCount);
      stoppedCount += 1;
      await stopMirroring(deps, value, stored).catch((error: unknown) => {
        if (!(error instanceof FarsideError) || error.code !== 'EBUSY') throw error;
        stoppedCount -= 1;
        busy.push(imageId);
      });
    });
    if (busy.length === left.length) return;
    left = busy;
  }
}

const isByItsJournal = (header: Header): boolean => header.mirror?.mode === 'journal' && stateOf(header) === 'primary';

const more = (count: number): FarsideError =>
  new FarsideError(
    'EAGAIN',
    `mirroring of ${count} images was stopped, and more are left: run the same command again`,
    {
      retry: 'later',
    },
  );
