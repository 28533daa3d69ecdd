// Owns the verbs on one mirrored image: enable, disable, promote, demote, resync, snapshot, and the ways out of a primary. Each
// is one compare-and-swap of the header, decided by role-changes.ts inside the swap; announcements follow.
//
// Enabling and the catalog: an image is in the catalog before its header says that it is mirrored, and until after it no
// longer says so (catalog.ts). Giving up mirroring leaves a tombstone first: only a tombstone makes a peer delete its replica.

import { racesMax, type Stored } from '../../bucket/document.ts';
import { FarsideError } from '../../errors.ts';
import { isNonPrimary, openHeader, readHeader, updateHeader } from '../../image/access.ts';
import { assertNotAttached, ownerOf } from '../../image/journal/attachment.ts';
import { forgetGone } from '../../image/clones/children.ts';
import type { ImageSpec } from '../../image/deps.ts';
import { breakEpoch } from '../../image/journal/epochs.ts';
import { withFormer } from '../../image/formerly.ts';
import { withJournaling, withoutJournaling } from '../../image/features.ts';
import { foldTail } from '../../image/journal/fold.ts';
import { mirrorSnapshots, userSnapshots } from '../../image/header.ts';
import type { Header, Mirror } from '../../image/header.ts';
import { removeImage } from '../../image/images.ts';
import { childrenOf } from '../../image/clones/lineage.ts';
import { overridden } from '../../image/options.ts';
import type { OptionLevels } from '../../image/options.ts';
import { takeQuiesced, type QuiesceMode } from '../../image/journal/quiesce.ts';
import { moveToTrash, type ToTrash } from '../../image/trash.ts';
import { endFollowing } from '../../image/journal/replica-end.ts';
import { updateWhole, whole, type Settle } from '../../image/whole.ts';
import { announce, lookAtPeers } from '../peers/announce.ts';
import { addToCatalog, removeFromCatalog } from '../peers/catalog.ts';
import { assertNoMirroredChildren, assertParentMirrored, confirmParentMirrored } from './clones.ts';
import { recentLevels } from '../config.ts';
import type { MirrorDeps } from '../deps.ts';
import type { DocumentDeps } from '../limits.ts';
import { newestMirrorSnapshot, withRoleChange, type OfSlot } from '../roles/mirror-snapshots.ts';
import { pointOf } from '../roles/history.ts';
import { putTombstone } from '../peers/tombstone.ts';
import { isMirroring, mirrorOf, mirrorsImages, readPool, recentPool, sends } from '../pool.ts';
import type { Pool } from '../pool.ts';
import { canAsk, canCreateSnapshot, canDemote, canDisable, canResync } from '../roles/role-changes.ts';
import { demoteSnapshot, primarySnapshot } from '../roles/role-changes.ts';
import type { Refusal, RoleChange } from '../roles/role-changes.ts';
import { promotionState } from '../roles/roles.ts';
import { mirrorSnapshotsMaxLeast } from '../roles/retention.ts';
import { removalToTrash, type AskedRemoval } from './trash.ts';

export const senders = (pool: Pool): string[] => pool.peers.filter(sends).map((peer) => peer.uuid);
export const stateOf = (header: Header): ReturnType<typeof promotionState> => promotionState(mirrorSnapshots(header));

export function refuse(refusal: Refusal | undefined): void {
  if (refusal) throw new FarsideError(refusal.code, refusal.message);
}

/** `byFeature`: the pool is in the mode in which an image's features decide (by-feature.ts). */
export type EnableOptions = { byFeature?: boolean };

/** `mirror image enable`. Enabling twice is fine, also on a replica. EINVAL: mode, pool. */
export async function enableImage(
  deps: MirrorDeps,
  spec: ImageSpec,
  modeName = 'journal',
  { byFeature = false }: EnableOptions = {},
): Promise<void> {
  const poolMode = byFeature ? 'pool' : 'image';
  const mode = checkedMode(modeName);
  const opened = await openHeader(deps, spec);
  await checkPoolEarly(deps, spec, poolMode);
  if (opened.value.mirror) return checkSameMode(opened.value.mirror, mode);
  await assertParentMirrored(deps, opened.value);
  const { imageId, namespace, name } = opened.value;
  const globalId = deps.random.uuid();
  await addToCatalog(deps, spec.pool, globalId, {
    imageId,
    namespace,
    name,
    addedAtMs: deps.clock.nowMs(),
    replica: false,
  });
  try {
    // Read again, now that the catalog has the image: see `disablePool`.
    const pool = (await readPool(deps, spec.pool)).value;
    checkPool(pool, namespace, poolMode);
    const now = await drawn(deps, pool, opened.value);
    const enabled = await swapWhole(deps, pool, { stored: opened, globalId }, (header) =>
      byFeature && !header.features.includes('journaling')
        ? undefined // it lost the feature since it was opened
        : enabledHeader(deps, header, { mode, globalId }, pool, now),
    );
    if (enabled.mirror?.globalId === globalId) await confirmEnabled(deps, pool, enabled);
    else await removeFromCatalog(deps, spec.pool, globalId, imageId);
  } catch (error) {
    // An unclear swap may have landed, or may land yet: a mirrored image without its entry would be found by no peer, while
    // an entry too many counts for nothing.
    if (isRefused(error)) await removeFromCatalog(deps, spec.pool, globalId, imageId);
    throw error;
  }
}

/** Known to the peers once the parent of a clone is known to be mirrored still. */
async function confirmEnabled(deps: MirrorDeps, pool: Pool, header: Header): Promise<void> {
  try {
    await confirmParentMirrored(deps, header);
  } catch (error) {
    const stored = isRefused(error) ? await readHeader(deps, header.imageId) : undefined;
    const isOurs = stored?.value.mirror?.globalId === header.mirror?.globalId;
    if (stored && isOurs) await stopMirroring(deps, pool, stored);
    throw error;
  }
  await announceNewest(deps, pool, header);
}

const isRefused = (error: unknown): boolean => error instanceof FarsideError && error.retry === 'never';

/** `globalId`: when it is not in the header yet. `settle`: how the head becomes whole; it is folded, if that is left out. */
type Subject = { stored: Stored<Header>; globalId?: string; settle?: Settle };

/** One change of the header of an image whose head is whole (whole.ts). When its outcome is unclear, the peers are told to look: it may have landed. */
export async function swapWhole(
  deps: MirrorDeps,
  pool: Pool,
  { stored, globalId = stored.value.mirror?.globalId ?? '', settle = foldTail }: Subject,
  change: (header: Header) => Header | undefined,
): Promise<Header> {
  try {
    return (await updateWhole(deps, stored, settle, change)).value;
  } catch (error) {
    if (!isRefused(error)) await announce(deps, pool, { globalId });
    throw error;
  }
}

function enabledHeader(
  deps: MirrorDeps,
  header: Header,
  identity: Pick<Mirror, 'mode' | 'globalId'>,
  pool: Pool,
  now: Drawn,
): Header | undefined {
  // It went there since it was opened, by its name.
  if (header.trash) throw new FarsideError('ENOENT', `error opening image ${header.name}`);
  if (header.mirror) return undefined;
  const features = identity.mode === 'journal' ? withJournaling(header.features) : header.features;
  const mirrored: Header = { ...header, features, mirror: { ...identity, state: 'enabled' } };
  return changed(deps, mirrored, primarySnapshot([], senders(pool)), pool, now);
}

function checkedMode(mode: string): Mirror['mode'] {
  if (mode === 'snapshot' || mode === 'journal') return mode;
  throw new FarsideError('EINVAL', `invalid mode name: ${mode}`);
}

/** Enabling twice is fine, in another mode it is not. Unlike rbd, the refusal leaves the image's features as they were. */
function checkSameMode(mirror: Mirror, mode: string): void {
  if (mirror.mode === mode) return;
  const why = `invalid current image mirror mode: it is ${mirror.mode}; disable mirroring of the image first`;
  throw new FarsideError('EINVAL', `cannot enable mirroring: ${why}`);
}

/** What is remembered may be out of date: a refusal is checked again. */
async function checkPoolEarly(deps: MirrorDeps, { pool, namespace }: ImageSpec, mode: 'image' | 'pool'): Promise<void> {
  if (mirrorOf(await recentPool(deps, pool), namespace)?.mode !== mode)
    checkPool((await readPool(deps, pool)).value, namespace, mode);
}

function checkPool(pool: Pool, namespace: string, mode: 'image' | 'pool'): void {
  const mirror = mirrorOf(pool, namespace);
  if (mirror?.mode === mode) return;
  const where = namespace === '' ? 'pool' : 'namespace';
  const why = mirrorsImages(mirror) ? 'pool is not in image mirror mode' : `mirroring is not enabled on a ${where}`;
  throw new FarsideError('EINVAL', `cannot enable mirroring: ${why}`);
}

/**
 * `mirror image disable`. Not enabled: nothing happens. On a primary its replicas are removed. On a replica only with
 * `force`: it becomes an ordinary image with the content that it has. EINVAL unless the namespace is in mode `image`.
 */
export async function disableImage(
  deps: MirrorDeps,
  spec: ImageSpec,
  { force = false }: { force?: boolean } = {},
): Promise<void> {
  const { stored, pool } = await openImage(deps, spec);
  if (mirrorOf(pool, spec.namespace)?.mode !== 'image')
    throw new FarsideError('EINVAL', 'cannot disable mirroring in the current pool mirroring mode');
  await stopMirroring(deps, pool, stored, { force });
}

/** `goes`: the image is being removed, so nobody keeps anything for its being mirrored again. */
/** `keepsFeatures`: journaling is left on, which mirroring by the journal brought along, or which brought it. */
export type Stop = { force?: boolean; goes?: boolean; keepsFeatures?: boolean };

/** An image as a verb finds it, and its pool. ENOENT. */
export async function openImage(deps: MirrorDeps, spec: ImageSpec): Promise<{ stored: Stored<Header>; pool: Pool }> {
  const stored = await openHeader(deps, spec);
  return { stored, pool: (await readPool(deps, spec.pool)).value };
}

/** Whatever the mode: an image that is removed takes its mirroring with it. EBUSY: it has mirrored clones. */
export async function stopMirroring(
  deps: MirrorDeps,
  pool: Pool,
  first: Stored<Header>,
  stop: Stop = {},
): Promise<void> {
  let stored: Stored<Header> | undefined = first;
  for (let lostCount = 0; stored; lostCount++) {
    await assertNoMirroredChildren(deps, stored.value);
    try {
      return await stopOnce(deps, pool, stored, stop);
    } catch (error) {
      if (!(error instanceof ChildrenChanged) || lostCount === racesMax) throw error;
      stored = await readHeader(deps, first.value.imageId);
    }
  }
}

/** The children that were looked at may not be those of this version any more (clones.ts). */
class ChildrenChanged extends FarsideError {
  constructor() {
    super('EAGAIN', 'the image is changed by others too often; try again', { retry: 'later' });
  }
}

async function stopOnce(
  deps: MirrorDeps,
  pool: Pool,
  stored: Stored<Header>,
  { force = false, goes = false, keepsFeatures = false }: Stop,
): Promise<void> {
  const { mirror } = stored.value;
  if (!mirror) return;
  refuse(canDisable(stateOf(stored.value), { force }));
  const isPrimary = stateOf(stored.value) === 'primary';
  const { globalId } = mirror;
  if (isPrimary) await writeTombstone(deps, pool, stored.value, { globalId, stays: !goes });
  const untilMs = deps.clock.nowMs() + deps.limits.replicaKeptMs;
  let looked = stored;
  const settle: Settle = async (imageDeps, from) => {
    const settled = await endFollowing(imageDeps, from);
    if (settled !== stored) await assertNoMirroredChildren(deps, settled.value);
    return (looked = settled);
  };
  await swapWhole(deps, pool, { stored, settle }, (header) => {
    if (header !== looked.value && childrenOf(header).length > 0) throw new ChildrenChanged();
    const disabled = disabledHeader(header, globalId, { force, isPrimary, keepsFeatures });
    return disabled && isPrimary && !goes ? withFormer(disabled, header, untilMs) : disabled;
  });
  await removeFromCatalog(deps, pool.name, globalId, stored.value.imageId);
  if (isPrimary) await announce(deps, pool, { globalId });
}

function disabledHeader(
  header: Header,
  globalId: string,
  { force, isPrimary, keepsFeatures }: { force: boolean; isPrimary: boolean; keepsFeatures: boolean },
): Header | undefined {
  if (header.mirror?.globalId !== globalId) return undefined;
  refuse(canDisable(stateOf(header), { force }));
  if ((stateOf(header) === 'primary') !== isPrimary) {
    throw new FarsideError('EAGAIN', `image ${header.name} changed its role meanwhile; try again`, { retry: 'now' });
  }
  const { mirror, ...rest } = header;
  const losesJournaling = mirror.mode === 'journal' && !keepsFeatures;
  const features = losesJournaling ? withoutJournaling(header.features) : header.features;
  return { ...whole(rest), features, snapshots: userSnapshots(header) };
}

/** Harmless while the image is mirrored: peers look at the header first. */
async function writeTombstone(
  deps: MirrorDeps,
  pool: Pool,
  { namespace }: Header,
  { globalId, stays }: { globalId: string; stays: boolean },
): Promise<void> {
  const mirrorUuid = mirrorOf(pool, namespace)?.mirrorUuid;
  if (mirrorUuid !== undefined) await putTombstone(deps, pool.name, globalId, { mirrorUuid, stays });
}

/**
 * `rm` of any image: a mirrored primary takes its replicas with it. Where options or `asked` say so, it goes to the trash instead.
 * ENOTEMPTY: snapshots. EBUSY: a replica.
 */
export async function removeMirroredImage(deps: MirrorDeps, spec: ImageSpec, asked: AskedRemoval = {}): Promise<void> {
  const stored = await openHeader(deps, spec).catch(() => undefined); // a removal that died is continued below
  const header = stored && childrenOf(stored.value).length > 0 ? await forgetGone(deps, stored.value) : stored?.value;
  const toTrash = header && !isNonPrimary(header) ? await removalToTrash(deps, header, asked) : undefined;
  if (toTrash) return void (await trashImage(deps, spec, toTrash));
  const isUsed = header && (userSnapshots(header).length + childrenOf(header).length > 0 || ownerOf(header));
  if (stored && header?.mirror && !isUsed && stateOf(header) === 'primary')
    await stopMirroring(deps, (await readPool(deps, spec.pool)).value, stored, { goes: true });
  await removeImage(deps, spec, { queue: deps.queue });
}

/**
 * `trash mv` of any image: a mirrored primary takes its replicas with it. Its features stay, as in rbd: in mode `pool` it is mirrored
 * again when it is back. Answers the image's id. EINVAL: non-primary.
 */
export async function trashImage(deps: MirrorDeps, spec: ImageSpec, toTrash: ToTrash): Promise<string> {
  const stored = await openHeader(deps, spec);
  assertNotAttached(stored.value);
  if (stored.value.mirror)
    await stopMirroring(deps, (await readPool(deps, spec.pool)).value, stored, { keepsFeatures: true });
  return await moveToTrash(deps, spec, toTrash);
}

/**
 * `mirror image demote`: from the swap on, every write is refused, and the peers may copy the last point and take over. A
 * writer that has the image attached is shut out; what it flushed is in the last point.
 */
export async function demoteImage(deps: MirrorDeps, spec: ImageSpec): Promise<void> {
  const { stored: opened, pool } = await openImage(deps, spec);
  refuse(canAsk(opened.value.mirror));
  refuse(canDemote(stateOf(opened.value)));
  const now = await drawn(deps, pool, opened.value);
  const demote = (header: Header): Header => {
    refuse(canAsk(header.mirror));
    refuse(canDemote(stateOf(header)));
    assertNotAttached(header);
    return changed(deps, header, demoteSnapshot(mirrorSnapshots(header), senders(pool)), pool, now);
  };
  const value = await swapWhole(deps, pool, { stored: opened, settle: breakEpoch }, demote);
  await announceNewest(deps, pool, value);
  await lookAtPeers(deps, pool, value.mirror!.globalId);
}

/** `mirror image resync`: a request; the next sync replaces the content by the primary's and keeps what would be lost as a snapshot. */
export async function resyncImage(deps: MirrorDeps, spec: ImageSpec): Promise<void> {
  const { stored, pool } = await openImage(deps, spec);
  const nowMs = deps.clock.nowMs();
  const request = (header: Header): Header | undefined => {
    refuse(canAsk(header.mirror));
    refuse(canResync(stateOf(header)));
    if (header.mirror?.state !== 'enabled' || header.mirror.resyncRequestedAtMs !== undefined) return undefined;
    return { ...header, mirror: { ...header.mirror, resyncRequestedAtMs: nowMs } };
  };
  const { value } = await updateHeader(deps, stored, request, { byMirroring: true });
  await lookAtPeers(deps, pool, value.mirror!.globalId);
}

/**
 * `mirror image snapshot`: gives the new snapshot's id. EINVAL: not primary, no peer to send to. Of an image in use, as
 * `createSnapshot`.
 */
export async function createMirrorSnapshot(
  deps: MirrorDeps,
  spec: ImageSpec,
  { quiesce = 'required' }: { quiesce?: QuiesceMode } = {},
): Promise<number> {
  const { stored: opened, pool } = await openImage(deps, spec);
  const check = (header: Header): void => refuse(canCreateSnapshot(mirrored(header), stateOf(header), senders(pool)));
  const take = async (stored: Stored<Header>, released: (header: Header) => Header): Promise<Header> => {
    const now = await drawn(deps, pool, stored.value);
    return swapWhole(deps, pool, { stored }, (header) => {
      check(header);
      return changed(deps, released(header), primarySnapshot(mirrorSnapshots(header), senders(pool)), pool, now);
    });
  };
  const value = await takeQuiesced(deps, opened, { mode: quiesce, check, take });
  await announceNewest(deps, pool, value);
  return newestMirrorSnapshot(value)!.id;
}

type MirroredView = NonNullable<Parameters<typeof canCreateSnapshot>[0]>;

export const mirrored = (header: Header): MirroredView | undefined =>
  header.mirror && { mode: header.mirror.mode, state: header.mirror.state, snapshots: mirrorSnapshots(header) };

/** What a change needs from outside, drawn once, so that the change is pure. */
export type Drawn = { nowMs: number; uuids: readonly [string, string]; levels: OptionLevels };

/** Options are asked for only where there is something to cap: an image in step has at most one older snapshot. */
export const drawn = async (deps: DocumentDeps, pool: Pool, header: Header): Promise<Drawn> => ({
  nowMs: deps.clock.nowMs(),
  uuids: [deps.random.uuid(), deps.random.uuid()],
  levels:
    mirrorSnapshots(header).length < mirrorSnapshotsMaxLeast - 1
      ? { site: {}, pool: {} }
      : await recentLevels(deps, pool.name),
});

export function changed(
  deps: DocumentDeps,
  header: Header,
  change: RoleChange,
  pool: Pool,
  now: Drawn & OfSlot,
): Header {
  const levels = { ...now.levels, meta: header.meta };
  const snapshotsMax = overridden('rbd_mirroring_max_mirroring_snapshots', levels) ?? deps.limits.mirrorSnapshotsMax;
  return withRoleChange(header, change, senders(pool), { ...now, snapshotsMax });
}

/** Tells the peers about the newest mirror snapshot of a header just written. */
export async function announceNewest(deps: MirrorDeps, pool: Pool, header: Header): Promise<void> {
  const newest = newestMirrorSnapshot(header);
  if (!header.mirror || !newest || !isMirroring(pool)) return;
  const { globalId } = header.mirror;
  const point = pointOf(newest, mirrorOf(pool, header.namespace)?.mirrorUuid ?? '');
  await announce(deps, pool, { globalId, ...point });
}
