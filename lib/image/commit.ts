// Owns the moment when new content becomes an image's head, and the agreement with collection that makes it safe.
//
// A collection condemns packs only in the compare-and-swap of a header whose every root it has marked (collect.ts). So a
// writer is safe if its own compare-and-swap finds that
// - no condemned list is being deleted that names one of its packs (it may have found an old, dead copy of the pack), and
// - no deletion was finished since it began (`collectGeneration`), or all its packs are still there, complete.

import { z } from 'zod';
import { replaceDocument, type Stored } from '../bucket/document.ts';
import { keyText } from '../bucket/keys.ts';
import { FarsideError } from '../errors.ts';
import { assertWritable, readHeader } from './access.ts';
import { assertNotAttached } from './attachment.ts';
import type { ImageDeps } from './deps.ts';
import type { Header, Root } from './header.ts';
import type { PackId } from './ids.ts';
import { resized } from './lineage.ts';
import { withSnapshot, type NewSnapshot } from './snapshots.ts';

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
export type NewContent = {
  root: Root | null;
  sizeBytes: number;
  written: WrittenPacks;
  /** A snapshot of the new head, which appears with it. */
  snapshot?: NewSnapshot | undefined;
};

const racesMax = 20;

/**
 * Puts `content` into the header if the head still is the one of `base`. Other changes of the header (snapshots, metadata,
 * mirroring) do not matter.
 * @throws ESTALE the head changed; EROFS not primary any more; EEXIST the snapshot's name is taken; EAGAIN collection is taking a pack away: run again.
 */
export async function commitRoot(deps: ImageDeps, base: Stored<Header>, content: NewContent): Promise<Header> {
  const label = `${base.value.pool}/${base.value.name}`;
  for (let tries = 0, stored: Stored<Header> | undefined = base; tries < racesMax; tries++) {
    if (tries > 0) stored = await readHeader(deps, base.value.imageId);
    if (!stored) throw new FarsideError('ENOENT', `image ${label} was removed meanwhile`);
    const header: Header = stored.value;
    assertWritable(header);
    assertNotAttached(header);
    if (!sameHead(header, base.value)) throw stale(label);
    await assertPacksSafe(deps, base.value, header, content.written);
    const nowMs = deps.clock.nowMs();
    const moved: Header = { ...resized(header, content.sizeBytes), root: content.root, modifiedAtMs: nowMs };
    const next = content.snapshot ? withSnapshot(moved, content.snapshot, nowMs) : moved;
    const replaced = await replaceDocument(deps.bucket, stored, next, deps.random);
    if (replaced) return replaced.value;
  }
  throw new FarsideError('EAGAIN', `image ${label} is changed by others too often; run the same command again`, {
    retry: 'later',
  });
}

const sameHead = (a: Header, b: Header): boolean =>
  a.sizeBytes === b.sizeBytes && a.root?.pack === b.root?.pack && a.root?.entry === b.root?.entry;

const stale = (label: string): FarsideError =>
  new FarsideError(
    'ESTALE',
    `image ${label} was changed by somebody else meanwhile, so nothing was committed; run the same command again`,
    { retry: 'now' },
  );

/** See the head of this file. Costs no request unless a collection ran meanwhile. */
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
