// Owns the verbs that switch mirroring of a pool or of one of its namespaces: enable, change of mode, disable. Modes are rbd's:
//
// - `image`: images are mirrored one by one.
// - `pool`: images that have the journaling feature are mirrored by that alone (by-feature.ts). Snapshot-mode images never are automatic, as in rbd; those enabled before the switch stay mirrored.
// - `init-only`: the default namespace mirrors nothing, the pool may have peers and mirrored namespaces.
//
// Disabling a pool in mode `pool` ends the mirroring of those images. Of no other: real rbd also gives up snapshot-mode images then.

import { checkName, keyText } from '../../bucket/keys.ts';
import { FarsideError } from '../../errors.ts';
import { readHeader } from '../../image/access.ts';
import { assertPlace } from '../../image/names.ts';
import { beginWalk, stopAllByFeature } from './by-feature-walk.ts';
import { readCatalog } from '../peers/catalog.ts';
import type { MirrorDeps } from '../deps.ts';
import { noNamespace } from '../namespace.ts';
import { updatePeerState } from '../peers/peer-state.ts';
import { mirroredNamespaces, mirrorModes, mirrorOf, readPool, receives, updatePool, withNamespace } from '../pool.ts';
import type { MirrorMode, NamespaceMirror, Pool } from '../pool.ts';

export type EnableOptions = {
  namespace?: string | undefined;
  siteName?: string | undefined;
  /** The peers' namespace; '' is their default one. Kept as it is when left out, and from disabled the same name. */
  remoteNamespace?: string | undefined;
};
export type EnableResult = { outcome: 'enabled' | 'unchanged' | 'switched'; mode: MirrorMode; from?: MirrorMode };

/**
 * From disabled, the namespace gets a new mirror uuid. EINVAL: unknown mode; init-only on a namespace; images that init-only
 * would leave behind; a remote namespace that is taken, or changed while mirroring is on. ENOENT: no such namespace.
 */
export async function enablePool(
  deps: MirrorDeps,
  pool: string,
  mode: string,
  options: EnableOptions = {},
): Promise<EnableResult> {
  const checked = checkMode(mode);
  const { namespace = '' } = options;
  if (namespace !== '') await checkNamespace(deps, pool, checked, options);
  let result: EnableResult = { outcome: 'unchanged', mode: checked };
  const mirrorUuid = deps.random.uuid();
  const enable = (value: Pool): Pool | undefined => {
    const before = mirrorOf(value, namespace);
    result = enableResult(before?.mode, checked);
    const mirror = enabledMirror(value, { ...options, namespace }, before, { mode: checked, mirrorUuid });
    const siteName = options.siteName ?? value.mirror?.siteName ?? deps.site.name;
    if (result.outcome === 'unchanged' && (namespace !== '' || siteName === value.mirror?.siteName)) return undefined;
    return namespace === '' ? { ...value, mirror: { ...mirror, siteName } } : withNamespace(value, namespace, mirror);
  };
  if (checked === 'init-only') await leavingImages(deps, pool, namespace, enable);
  else await updatePool(deps, pool, enable);
  if (checked !== 'init-only' && result.outcome !== 'unchanged' && result.from !== 'image' && result.from !== 'pool')
    await compareWithPeers(deps, pool);
  // Also when the pool was in that mode before: what was left out is made up for. Messages and ticks go on.
  if (checked === 'pool') await beginWalk(deps, pool, namespace);
  return result;
}

/** What the peers have for a namespace that was not mirrored a moment ago. */
async function compareWithPeers(deps: MirrorDeps, pool: string): Promise<void> {
  const { peers } = (await readPool(deps, pool)).value;
  for (const { uuid } of peers.filter(receives)) {
    await updatePeerState(deps, pool, uuid, (state) => ({ ...state, comparedAtMs: 0 }));
    await deps.queue.send([{ type: 'poll', pool, peerUuid: uuid }]);
  }
}

function checkMode(mode: string): MirrorMode {
  const found = mirrorModes.find((known) => known === mode);
  if (!found) throw new FarsideError('EINVAL', "must specify 'image' or 'pool' mode.");
  return found;
}

async function checkNamespace(deps: MirrorDeps, pool: string, mode: MirrorMode, options: EnableOptions): Promise<void> {
  const { namespace = '', siteName } = options;
  checkName('namespace', namespace);
  if (mode === 'init-only') throw new FarsideError('EINVAL', 'init-only mode cannot be set on a namespace');
  if (siteName !== undefined)
    throw new FarsideError('EINVAL', 'a site name is given with the pool, not with one of its namespaces');
  await readPool(deps, pool);
  if (!(await deps.bucket.head(keyText({ kind: 'namespace', pool, namespace })))) throw noNamespace(namespace);
}

function enableResult(from: MirrorMode | undefined, mode: MirrorMode): EnableResult {
  if (from === undefined) return { outcome: 'enabled', mode };
  return from === mode ? { outcome: 'unchanged', mode } : { outcome: 'switched', mode, from };
}

function enabledMirror(
  pool: Pool,
  { namespace, remoteNamespace }: EnableOptions & { namespace: string },
  before: NamespaceMirror | undefined,
  { mode, mirrorUuid }: { mode: MirrorMode; mirrorUuid: string },
): NamespaceMirror {
  // Nothing is mirrored while a pool is init-only: from there it starts afresh, as from disabled.
  const isActive = before !== undefined && before.mode !== 'init-only';
  const remote = remoteNamespace ?? (isActive ? before.remoteNamespace : undefined) ?? namespace;
  if (remote !== '') checkName('namespace', remote);
  if (isActive && remote !== (before.remoteNamespace ?? namespace))
    throw new FarsideError(
      'EINVAL',
      'cannot change the remote namespace while mirroring is enabled: disable mirroring first, at both sites',
    );
  const rival = mirroredNamespaces(pool).find(
    ({ name, remoteNamespace: other = name }) => name !== namespace && other === remote,
  );
  if (rival && mode !== 'init-only')
    throw new FarsideError(
      'EINVAL',
      `remote namespace '${remote}' is mirrored by ${rival.name === '' ? 'the default namespace' : `namespace '${rival.name}'`} already`,
    );
  const stored = { mode, mirrorUuid: before?.mirrorUuid ?? mirrorUuid };
  return remote === namespace ? stored : { ...stored, remoteNamespace: remote };
}

/**
 * `mirror pool disable`; answers whether mirroring was on. EBUSY: peers are registered. EINVAL: images are mirrored, whatever
 * the mode. EAGAIN: mode `pool` has more images than one invocation stops.
 */
export async function disablePool(
  deps: MirrorDeps,
  pool: string,
  { namespace = '' }: { namespace?: string | undefined } = {},
): Promise<'disabled' | 'unchanged'> {
  const { value } = await readPool(deps, pool);
  if (!mirrorOf(value, namespace)) {
    await assertPlace(deps, pool, namespace);
    return 'unchanged';
  }
  const disable = (now: Pool): Pool => {
    if (namespace !== '') return withNamespace(now, namespace, undefined);
    checkPeers(now);
    const { mirror: _, ...rest } = now;
    // Tokens stay valid, as rbd's do; with mirroring off they only learn that it is off.
    return rest;
  };
  if (namespace === '') checkPeers(value);
  if (mirrorOf(value, namespace)?.mode === 'pool') await stopAllByFeature(deps, pool, namespace);
  await leavingImages(deps, pool, namespace, disable);
  return 'disabled';
}

function checkPeers(pool: Pool): void {
  if (pool.peers.length > 0) throw new FarsideError('EBUSY', 'mirror peers still registered');
}

/**
 * Makes a change after which the namespace mirrors no images; EINVAL while some are. An image may be enabled at the same time,
 * so the catalog is read again after the change (see `enableImage`, which does the reverse):
 *
 *   disablePool                        enableImage
 *   mode off (compare-and-swap)        entry into the catalog (compare-and-swap)
 *   reads the catalog                  reads the pool
 *
 * Whoever reads last sees the other and steps back. An entry without a mirrored image counts for `enablingMs`, then as left over
 * from an attempt that died.
 */
async function leavingImages(
  deps: MirrorDeps,
  pool: string,
  namespace: string,
  change: (pool: Pool) => Pool | undefined,
): Promise<void> {
  let before = mirrorOf((await readPool(deps, pool)).value, namespace);
  await checkNoImages(deps, pool, namespace, before);
  await updatePool(deps, pool, (now) => {
    before = mirrorOf(now, namespace);
    return change(now);
  });
  try {
    await checkNoImages(deps, pool, namespace, before);
  } catch (error) {
    await updatePool(deps, pool, (now) => restored(now, namespace, before, deps.site.name));
    throw error;
  }
}

function restored(pool: Pool, namespace: string, before: NamespaceMirror | undefined, name: string): Pool | undefined {
  if (!before || mirrorOf(pool, namespace)?.mode === before.mode) return undefined;
  if (namespace !== '') return withNamespace(pool, namespace, before);
  return { ...pool, mirror: { siteName: pool.mirror?.siteName ?? name, ...before } };
}

/** Longer than the few requests between an entry and its header take. */
const enablingMs = 60_000;

async function checkNoImages(
  deps: MirrorDeps,
  pool: string,
  namespace: string,
  mirror: NamespaceMirror | undefined,
): Promise<void> {
  const leftOverMs = deps.clock.nowMs() - enablingMs;
  for (const [globalId, entry] of Object.entries(await readCatalog(deps, pool))) {
    if (entry.namespace !== namespace) continue;
    const header = await readHeader(deps, entry.imageId);
    if (header?.value.mirror?.globalId !== globalId && entry.addedAtMs < leftOverMs) continue;
    const next = mirror?.mode === 'pool' ? ': switch to image mode, then disable them one by one' : '';
    throw new FarsideError(
      'EINVAL',
      `failed to disable mirror mode: there are still images with mirroring enabled${next}`,
    );
  }
}
