// Owns `mirror pool promote` and `mirror pool demote`: the verb of images.ts on every mirrored image of a pool's namespace, in
// order of name, a few at once. Images that have the role already are skipped; one that fails holds up no other.
//
// One call is bounded in images and in time; it answers where the next one goes on. Repeating any of them is harmless.

import pLimit from 'p-limit';

import { FarsideError } from '../../errors.ts';
import type { ErrorCode } from '../../errors.ts';
import { readHeader } from '../../image/access.ts';
import { mirrorSnapshots } from '../../image/header.ts';
import type { Header } from '../../image/header.ts';
import { readCatalog } from '../peers/catalog.ts';
import type { MirrorDeps } from '../deps.ts';
import { demoteImage } from './images.ts';
import { promoteImage } from './promote.ts';
import { mirroringPool } from '../namespace.ts';
import { promotionState } from '../roles/roles.ts';

/** `rbd_concurrent_management_ops` */
const imagesAtOnceMax = 10;
const headersAtOnceMax = 16;
/** Images of one call, and how long it begins new ones. */
const imagesMax = 500;
const beginMs = 20_000;

export type PoolRoles = {
  changed: number;
  failed: { image: string; code: ErrorCode; message: string }[];
  /** Pass as `after` for the images that are left. */
  next?: string;
};

/** `after`: the name of the last image of the call before. */
export type PoolRoleOptions = { namespace?: string | undefined; after?: string | undefined };

/** EINVAL: the namespace is not mirrored. */
export const promotePool = (
  deps: MirrorDeps,
  pool: string,
  { force = false, ...options }: PoolRoleOptions & { force?: boolean | undefined } = {},
): Promise<PoolRoles> =>
  changeRoles(deps, pool, options, {
    isDue: (header) => promotionState(mirrorSnapshots(header)) !== 'primary',
    change: ({ namespace, name }) => promoteImage(deps, { pool, namespace, image: name }, { force }),
  });

/** EINVAL: the namespace is not mirrored. */
export const demotePool = (deps: MirrorDeps, pool: string, options: PoolRoleOptions = {}): Promise<PoolRoles> =>
  changeRoles(deps, pool, options, {
    isDue: (header) => promotionState(mirrorSnapshots(header)) === 'primary',
    change: ({ namespace, name }) => demoteImage(deps, { pool, namespace, image: name }),
  });

type Verb = { isDue: (header: Header) => boolean; change: (header: Header) => Promise<void> };

async function changeRoles(
  deps: MirrorDeps,
  pool: string,
  { namespace = '', after }: PoolRoleOptions,
  { isDue, change }: Verb,
): Promise<PoolRoles> {
  await mirroringPool(deps, pool, namespace);
  const due = (await mirroredImages(deps, pool, namespace)).filter(
    (header) => isDue(header) && (after === undefined || header.name > after),
  );
  const roles: PoolRoles = { changed: 0, failed: [] };
  const untilMs = deps.clock.nowMs() + beginMs;
  const limit = pLimit(imagesAtOnceMax);
  let begun: string | undefined;
  const batch = due.slice(0, imagesMax);
  const work = batch.map((header) =>
    limit(async () => {
      // In order of name: what is not begun comes after everything that was.
      if (deps.clock.nowMs() > untilMs) return;
      begun = header.name;
      await changeOne(roles, header, change);
    }),
  );
  await Promise.all(work);
  const isDone = begun === due.at(-1)?.name;
  return {
    changed: roles.changed,
    failed: roles.failed.toSorted((a, b) => (a.image < b.image ? -1 : 1)),
    ...(isDone || begun === undefined ? {} : { next: begun }),
  };
}

async function changeOne(roles: PoolRoles, header: Header, change: Verb['change']): Promise<void> {
  try {
    await change(header);
    roles.changed += 1;
  } catch (error) {
    if (!(error instanceof FarsideError)) throw error;
    roles.failed.push({ image: header.name, code: error.code, message: error.message });
  }
}

/** In order of name; those that are enabled, not those still being made. */
async function mirroredImages(deps: MirrorDeps, pool: string, namespace: string): Promise<Header[]> {
  const limit = pLimit(headersAtOnceMax);
  const entries = Object.entries(await readCatalog(deps, pool)).filter(([, entry]) => entry.namespace === namespace);
  const headers = await Promise.all(
    entries.map(([globalId, { imageId }]) =>
      limit(async () => {
        const header = (await readHeader(deps, imageId))?.value;
        return header?.mirror?.globalId === globalId && header.mirror.state === 'enabled' ? [header] : [];
      }),
    ),
  );
  return headers.flat().toSorted((a, b) => (a.name < b.name ? -1 : 1));
}
