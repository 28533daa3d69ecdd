// Owns what may be done through the store endpoint, which carries the CLI's data path. Reading: an admin may read everything,
// a pool's client what belongs to images, names and uploads of its pool. Writing, for both alike: packs, slots and headers of
// writable images, names and uploads; everything else has its own routes. A slot that is taken is nobody's to replace (I6).
//
// Invariant I8 is held here for those who write headers themselves. A header that is put is compared with the one that it
// replaces: the stored one must be writable, and what belongs to mirroring, collection or identity must not change. The
// header that is compared is the one that is replaced, since the put carries its tag:
//
//   client                          this check                        the bucket
//   PUT header, If-Match: e         reads the header, tag e: checked  replaces e, and only e
//                                   tag is not e: not checked         refuses
//
// Not promised: an image that was demoted a moment ago may still be sent packs (nothing refers to them).

import type { Context } from 'hono';
import { z } from 'zod';

import { readDocument, type Stored } from '../../bucket/document.ts';
import { parseTag, storePath } from '../../bucket/http-protocol.ts';
import { parseKey, prefixes, type Key } from '../../bucket/keys.ts';
import { FarsideError } from '../../errors.ts';
import { assertWritable, isNonPrimary, readHeader } from '../../image/access.ts';
import {
  ancestorsMax,
  headerSchema,
  isMirrorSnapshot,
  mirrorSnapshots,
  trashSnapshots,
  type Header,
  type MirrorSnapshot,
} from '../../image/header.ts';
import { keepParents } from '../../image/clones/lineage.ts';
import { headerKey } from '../../image/names.ts';
import type { MirrorDeps } from '../../mirror/deps.ts';
import { isPointDue, pointTerms, withPoint } from '../../mirror/primary/points.ts';
import { recall, recent, remember } from '../../mirror/recent.ts';
import type { Principal } from '../auth.ts';
import type { ApiEnv } from './access.ts';
import { forbidden } from './errors.ts';

type Authorize = (c: Context<ApiEnv>, keyOrPrefix: string, access: 'read' | 'write') => Promise<void>;

/** Throws EPERM (not yours), EROFS (non-primary) or EINVAL (malformed header). */
export const authorizeStore =
  (deps: MirrorDeps): Authorize =>
  async (c, keyOrPrefix, access) => {
    const principal = c.get('principal');
    if (c.req.path === storePath) return authorizeList(deps, principal, keyOrPrefix);
    const key = parseKey(keyOrPrefix);
    if (!key) throw new FarsideError('EINVAL', 'not a key');
    if (access === 'read') await authorizeRead(deps, principal, key, c.req.method);
    else if (c.req.method === 'PUT') await authorizePut(deps, principal, key, c);
    else await authorizeDelete(deps, principal, key);
  };

const notYours = (): FarsideError => forbidden('this token may not reach that object');
const notHere = (): FarsideError => forbidden('this object is not changed through the store: use the route for it');

async function authorizeList(deps: MirrorDeps, principal: Principal, prefix: string): Promise<void> {
  if (principal.kind === 'admin') return;
  const imageId = /^images\/([0-9a-f]{24})\//.exec(prefix)?.[1];
  if (imageId !== undefined) return assertPool(principal, await poolOfImage(deps, imageId));
  if (!prefix.startsWith(`${prefixes.pool(principal.pool)}names/`)) throw notYours();
}

/** `undefined`: the image has no header (yet); its random id is all that protects an import under way. */
function assertPool(principal: Principal, pool: string | undefined): void {
  if (principal.kind === 'client' && pool !== undefined && pool !== principal.pool) throw notYours();
}

async function authorizeRead(deps: MirrorDeps, principal: Principal, key: Key, method: string): Promise<void> {
  if (principal.kind === 'admin') return;
  switch (key.kind) {
    case 'pack':
    case 'slot':
      return assertPackOf(deps, principal, key.imageId);
    case 'header':
    case 'collect':
      return assertPool(principal, await poolOfImage(deps, key.imageId));
    case 'name':
    case 'upload':
    case 'pool-config':
      return assertPool(principal, key.pool);
    case 'config':
      return; // options that hold for every pool
    case 'pool':
    case 'namespace':
      // Whether there is such a one; a pool's document itself holds hashes and sealed keys.
      if (method === 'HEAD' && key.pool === principal.pool) return;
      throw notYours();
    default:
      throw notYours();
  }
}

/** A clone's client reads its parent's packs too, and its parent's parent's, wherever they are. */
async function assertPackOf(deps: MirrorDeps, principal: Principal, imageId: string): Promise<void> {
  const pool = await poolOfImage(deps, imageId);
  if (principal.kind === 'admin' || pool === undefined || pool === principal.pool) return;
  const key = `store clones of ${imageId} in ${principal.pool}`;
  if (!(await recent(deps, key, async () => (await hasCloneIn(deps, imageId, principal.pool)) || undefined)))
    throw notYours();
}

async function hasCloneIn(deps: MirrorDeps, imageId: string, pool: string, depth = 0): Promise<boolean> {
  const children = (await readHeader(deps, imageId))?.value.children ?? [];
  if (children.some((child) => child.pool === pool)) return true;
  if (depth >= ancestorsMax) return false;
  for (const child of children) if (await hasCloneIn(deps, child.imageId, pool, depth + 1)) return true;
  return false;
}

async function authorizePut(deps: MirrorDeps, principal: Principal, key: Key, c: Context): Promise<void> {
  switch (key.kind) {
    case 'pack':
      return authorizePack(deps, principal, key.imageId);
    case 'slot':
      return authorizeSlot(deps, principal, key.imageId, c);
    case 'header':
      return authorizeHeader(deps, principal, key.imageId, c);
    case 'name':
    case 'upload':
      return assertPool(principal, key.pool);
    default:
      throw notHere();
  }
}

async function authorizeDelete(deps: MirrorDeps, principal: Principal, key: Key): Promise<void> {
  if (key.kind === 'upload') return assertPool(principal, key.pool);
  if (key.kind !== 'header') throw notHere();
  // A creation that lost the race for its name takes its header back.
  const stored = await readDocument(deps.bucket, headerKey(key.imageId), headerSchema);
  if (!stored) return;
  assertPool(principal, stored.value.pool);
  if (stored.value.mirror) throw notHere();
}

const poolKey = (imageId: string): string => `store pool of ${imageId}`;
const writableKey = (imageId: string): string => `store writable ${imageId}`;

/** An image never changes its pool, so what is remembered stays true. */
async function poolOfImage(deps: MirrorDeps, imageId: string): Promise<string | undefined> {
  const known = recall(deps, poolKey(imageId));
  if (typeof known === 'string') return known;
  const stored = await readDocument(deps.bucket, headerKey(imageId), headerSchema);
  if (stored) remember(deps, poolKey(imageId), stored.value.pool);
  return stored?.value.pool;
}

async function authorizePack(deps: MirrorDeps, principal: Principal, imageId: string): Promise<void> {
  const image = await recent(deps, writableKey(imageId), async () => {
    const stored = await readDocument(deps.bucket, headerKey(imageId), headerSchema);
    return stored && { pool: stored.value.pool, writable: !isNonPrimary(stored.value) };
  });
  if (!image) return;
  assertPool(principal, image.pool);
  if (!image.writable)
    throw new FarsideError('EROFS', 'the image is non-primary: it is read-only until it is promoted');
}

/** Unlike packs, which may come before their image. */
async function authorizeSlot(deps: MirrorDeps, principal: Principal, imageId: string, c: Context): Promise<void> {
  if (c.req.header('if-match') !== undefined) throw forbidden('a slot of a journal is filled once');
  if ((await poolOfImage(deps, imageId)) === undefined) throw notHere();
  await authorizePack(deps, principal, imageId);
}

async function authorizeHeader(deps: MirrorDeps, principal: Principal, imageId: string, c: Context): Promise<void> {
  const next = parseHeader(await c.req.json().catch(() => undefined));
  if (next.imageId !== imageId) throw new FarsideError('EINVAL', 'the header is of another image');
  assertPool(principal, next.pool);
  const tag = c.req.header('if-match');
  if (tag === undefined) return assertUnmirrored(next);
  const stored = await readDocument(deps.bucket, headerKey(imageId), headerSchema);
  if (!stored || stored.etag !== parseTag(tag)) return; // the bucket will refuse it
  assertPool(principal, stored.value.pool);
  assertUserChange(stored, next, await expectedPoints(deps, stored.value, next));
}

const envelopeSchema = z.object({
  revision: z.int().positive(),
  writeId: z.string().min(1).max(64),
  value: headerSchema,
});

function parseHeader(body: unknown): Header {
  const parsed = envelopeSchema.safeParse(body);
  if (parsed.success) return parsed.data.value;
  throw new FarsideError('EINVAL', `malformed header: ${z.prettifyError(parsed.error)}`);
}

/** A new image is nobody's replica, and nobody's clone: that is made by the site. */
function assertUnmirrored(header: Header): void {
  const mirrored =
    header.mirror !== undefined ||
    header.formerly !== undefined ||
    header.removing === true ||
    header.trash !== undefined ||
    header.collect !== undefined ||
    isNonPrimary(header);
  const isClone = header.parent !== undefined || header.children !== undefined || trashSnapshots(header).length > 0;
  if (mirrored || isClone || mirrorSnapshots(header).length > 0) throw notHere();
}

/**
 * The mirror snapshots that the change may leave: those that are there; of an image that is mirrored by its journal, with the very
 * point that it has to take (lib/mirror/primary/points.ts).
 */
async function expectedPoints(deps: MirrorDeps, stored: Header, next: Header): Promise<MirrorSnapshot[]> {
  const before = mirrorSnapshots(stored);
  const unmoved = { ...next, snapshots: [...next.snapshots.filter((one) => !isMirrorSnapshot(one)), ...before] };
  if (stored.mirror?.mode !== 'journal' || !isPointDue(stored, unmoved)) return before;
  const point = mirrorSnapshots(next).at(-1);
  if (!point || point.id < stored.nextSnapshotId) throw forbidden('a change that replicas have to see takes a point');
  const drawn = { nowMs: point.createdAtMs, uuid: point.name.split('.').at(-1) ?? '' };
  const expected = withPoint({ ...unmoved, nextSnapshotId: point.id }, await pointTerms(deps, next), drawn);
  // In the order of the schema's keys.
  return mirrorSnapshots(headerSchema.parse(expected));
}

function assertUserChange(stored: Stored<Header>, next: Header, points: readonly MirrorSnapshot[]): void {
  assertWritable(stored.value);
  const losesParent = keepParents(stored.value, next) !== next;
  if (losesParent || frozenParts(stored.value, points) !== frozenParts(next)) {
    throw forbidden('a header put through the store may change content, size, user snapshots and metadata only');
  }
  if (!keepsIds(stored.value, next)) throw forbidden('a snapshot id is given once, by nextSnapshotId');
}

/** Replicas name snapshots by their ids: one that was used again would be taken for the old one. */
function keepsIds(stored: Header, next: Header): boolean {
  const known = new Set(stored.snapshots.map(({ id }) => id));
  const isGiven = (id: number): boolean => id >= stored.nextSnapshotId && id < next.nextSnapshotId;
  return next.nextSnapshotId >= stored.nextSnapshotId && next.snapshots.every(({ id }) => known.has(id) || isGiven(id));
}

const frozenFields = [
  'version',
  'imageId',
  'pool',
  'namespace',
  'name',
  'objectBytes',
  'features',
  'dataPool',
  'mirror',
  'formerly',
  'removing',
  'trash',
  'collect',
  'collectGeneration',
  'children',
] as const satisfies readonly (keyof Header)[];

/** What only the site itself changes. Parsed values have the schema's order of keys, so equal text is equal content. */
function frozenParts(header: Header, points: readonly MirrorSnapshot[] = mirrorSnapshots(header)): string {
  // Shrinking a clone takes its overlap down.
  const parent = header.parent && { ...header.parent, overlapBytes: 0 };
  const fields = frozenFields.map((field) => header[field]);
  return JSON.stringify([fields, parent, points, trashSnapshots(header)]);
}
