// Owns `mirror image retention` and `mirror pool retention`: which points in time a site keeps of what it receives. An image's
// policy goes before its pool's. Both belong to this site: they are not replicated, and are kept through changes of role.
//
// A change of an image's policy acts at once, a pool's with the next mirror snapshot that each image receives.

import { FarsideError } from '../../errors.ts';
import { openHeader, updateHeader } from '../../image/access.ts';
import type { ImageSpec } from '../../image/deps.ts';
import { mirrorSnapshots, type Header } from '../../image/header.ts';
import type { DocumentDeps } from '../limits.ts';
import { takenAtMs } from '../roles/history.ts';
import { effectivePolicy, formatKeepPolicy, parseKeepPolicy, withRetained } from '../roles/keep-policy.ts';
import { readPool, recentPool, updatePool } from '../pool.ts';
import { pruned } from '../roles/retention.ts';
import { mirroringNotEnabled } from '../roles/role-changes.ts';

export type Retention = { keep: string | null; from: 'image' | 'pool' | null };
/** Mirror snapshots that are kept, oldest first. */
export type KeptPoint = { id: number; name: string; size: number; taken_at: string };

export async function imageRetention(
  deps: DocumentDeps,
  spec: ImageSpec,
): Promise<Retention & { points: KeptPoint[] }> {
  const { value: header } = await openHeader(deps, spec);
  if (!header.mirror) throw notMirrored();
  const pool = await recentPool(deps, spec.pool);
  const { retention } = header.mirror;
  const keep = retention ?? pool.retention ?? null;
  const from = retention !== undefined ? 'image' : pool.retention !== undefined ? 'pool' : null;
  return { keep, from, points: keptOf(header) };
}

const keptOf = (header: Header): KeptPoint[] =>
  mirrorSnapshots(header)
    .filter(({ namespace }) => namespace.retained === true)
    .map((one) => ({
      id: one.id,
      name: one.name,
      size: one.sizeBytes,
      taken_at: new Date(takenAtMs(one)).toISOString(),
    }));

/** Undefined takes it back. EINVAL: not mirrored, not a policy. */
export async function setImageRetention(deps: DocumentDeps, spec: ImageSpec, keep: string | undefined): Promise<void> {
  const text = keep === undefined ? undefined : formatKeepPolicy(parseKeepPolicy(keep));
  const pool = (await readPool(deps, spec.pool)).value;
  const change = (header: Header): Header => {
    if (!header.mirror) throw notMirrored();
    const { retention: _, ...rest } = header.mirror;
    const mirror = text === undefined ? rest : { ...rest, retention: text };
    const changed = { ...header, mirror };
    return { ...changed, snapshots: pruned(withRetained(header.snapshots, effectivePolicy(changed, pool))) };
  };
  await updateHeader(deps, spec, change, { byMirroring: true });
}

const notMirrored = (): FarsideError => new FarsideError(mirroringNotEnabled.code, mirroringNotEnabled.message);

export async function poolRetention(deps: DocumentDeps, pool: string): Promise<Retention> {
  const { retention } = (await readPool(deps, pool)).value;
  return { keep: retention ?? null, from: retention === undefined ? null : 'pool' };
}

/** Undefined takes it back. EINVAL: not a policy. */
export async function setPoolRetention(deps: DocumentDeps, pool: string, keep: string | undefined): Promise<void> {
  const text = keep === undefined ? undefined : formatKeepPolicy(parseKeepPolicy(keep));
  await updatePool(deps, pool, (value) => {
    if (value.retention === text) return undefined;
    const { retention: _, ...rest } = value;
    return text === undefined ? rest : { ...rest, retention: text };
  });
}
