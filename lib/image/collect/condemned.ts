// Owns the agreement between those who commit a root and collection, which makes both safe.
//
// A collection condemns packs only in the compare-and-swap of a header whose every root it has marked (collect.ts). So a
// writer is safe if its own compare-and-swap finds that
// - no condemned list is being deleted that names one of its packs (it may have found an old, dead copy of the pack), and
// - no deletion was finished since it began (`collectGeneration`), or all its packs are still there, complete.

import { z } from 'zod';
import { keyText } from '../../bucket/keys.ts';
import { FarsideError } from '../../errors.ts';
import type { ImageDeps } from '../deps.ts';
import type { Header } from '../header.ts';
import type { PackId } from '../ids.ts';

/**
 * What a collection is about to take away: whole packs, and single entries of others (as sparse rewriting drops them). Stored
 * packs are named as `storedKey` reads them; `packId`: of one that lies in a slot.
 */
export const condemnedSchema = z.object({
  packs: z.array(z.string()),
  shrinks: z.array(
    z.object({ pack: z.string(), packId: z.string().optional(), keep: z.array(z.tuple([z.int(), z.int()])) }),
  ),
});
export type Condemned = z.infer<typeof condemnedSchema>;

/** Packs that a writer made, with their bytes when complete. */
export type WrittenPacks = ReadonlyMap<PackId, number>;
/** EAGAIN: not safe now. Costs no request unless a collection ran meanwhile. */
export async function assertPacksSafe(
  deps: ImageDeps,
  began: Header,
  now: Header,
  written: WrittenPacks,
): Promise<void> {
  if (now.collect && (await condemnedPacks(deps, now)).some((pack) => written.has(pack as PackId))) throw collecting();
  if (began.collectGeneration === now.collectGeneration) return;
  for (const [packId, bytes] of written) {
    const key = keyText({ kind: 'pack', imageId: now.imageId, packId });
    if ((await deps.bucket.head(key))?.bytes !== bytes) throw collecting();
  }
}

const collecting = (): FarsideError =>
  new FarsideError(
    'EAGAIN',
    'garbage collection is removing an old copy of data that this command wrote again, so nothing was committed; run the same command again',
    {
      retry: 'later',
    },
  );

/** The packs that the collection named by a header takes away or makes sparser. */
export async function condemnedPacks(deps: Pick<ImageDeps, 'bucket'>, header: Header): Promise<string[]> {
  if (!header.collect) return [];
  const key = keyText({ kind: 'collect', imageId: header.imageId, run: header.collect.run, step: header.collect.step });
  const found = await deps.bucket.get(key);
  if (found.status !== 'found') return []; // deleted: that collection has ended
  const condemned = condemnedSchema.parse(JSON.parse(Buffer.from(found.body).toString()));
  return [...condemned.packs, ...condemned.shrinks.map((shrink) => shrink.pack)];
}
