// Owns the moment when new content becomes an image's head, in agreement with collection (condemned.ts).

import type { Stored } from '../bucket/document.ts';
import { FarsideError } from '../errors.ts';
import { assertWritable, readHeader, replaceHeader } from './access.ts';
import { assertNotAttached } from './journal/attachment.ts';
import { assertPacksSafe, type WrittenPacks } from './collect/condemned.ts';
import type { ImageDeps } from './deps.ts';
import type { Header, Root } from './header.ts';
import { resized } from './clones/lineage.ts';
import { withSnapshot, type NewSnapshot } from './snapshots.ts';

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
    const replaced = await replaceHeader(deps, stored, next);
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
