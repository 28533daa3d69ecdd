// Owns `cp` and `deep cp`: the site copies packs, step by step, and the command asks for the next. For another object size the
// map has to be made anew: then the content is read and written here, as by an export and an import.

import { FarsideError } from '../../errors.ts';
import type { ImageDeps, ImageSpec } from '../../image/deps.ts';
import { userSnapshots } from '../../image/header.ts';
import { findUserSnapshot } from '../../image/info.ts';
import type { AskedCreation } from '../../image/options.ts';
import type { Client } from '../client/client.ts';
import type { Progress } from '../output/progress.ts';
import { containerOf, importContainer } from './container.ts';
import { openReadable } from './export.ts';
import { headPoint, snapshotPoint } from './export-diff.ts';
import { untilDone } from '../client/until-done.ts';

/** `deep`: with the user snapshots. */
export type CopyRequest = { source: ImageSpec; target: ImageSpec; deep: boolean; creation: AskedCreation };

/** EEXIST: the name is taken. ENOENT: no such source, snapshot or pool. EAGAIN: run the same command again, it goes on. */
export async function copyAtSite(
  client: Client,
  { source, target, deep, creation }: CopyRequest,
  progress: Progress,
): Promise<void> {
  const { pool, namespace, image: name } = target;
  let begun: string | undefined;
  await untilDone(progress, async () => {
    const copied = await client.clones.copy(source, { ...creation, pool, namespace, name, deep }, begun);
    begun = copied.imageId;
    return copied;
  });
}

const silent: Pick<Progress, 'update'> = { update: () => {} };
/** One reads and one writes in this process: together they hold what one may. */
const transfersMax = 2;

/** Throws as `copyAtSite`, but a copy that was interrupted only spares the upload of what is there. */
export async function copyAnew(
  deps: ImageDeps,
  { source: { snap, ...source }, target, deep, creation }: CopyRequest,
  progress: Progress,
): Promise<void> {
  const readable = await openReadable(deps, source);
  const { header } = readable;
  const end = snap === undefined ? undefined : findUserSnapshot(header, snap);
  const users = deep ? userSnapshots(header).filter(({ id }) => end === undefined || id <= end.id) : [];
  const head = end ? { root: end.root, sizeBytes: end.sizeBytes } : headPoint(header);
  const { parts } = containerOf(readable, [...users.map(snapshotPoint), head]);
  const content = {
    sizeBytes: undefined,
    chunks: () => {
      throw new FarsideError('EINVAL', 'a history is no plain content');
    },
    bytes: () => parts(progress),
    close: async () => {},
  };
  const settings = { ...deps.settings, transfersMax };
  await importContainer({ ...deps, settings }, target, content, {
    ...creation,
    compression: undefined,
    progress: silent,
  });
}
