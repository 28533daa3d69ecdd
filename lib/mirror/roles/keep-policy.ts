// Owns which points in time a replica keeps: `24h,7d,4w,12m` is the newest mirror snapshot of each of the last 24 hours, 7 days,
// 4 weeks and 12 months that have one. Pure: no clock. Periods are those of UTC, weeks begin on Monday; time is that of the
// primary's snapshot. Periods without a snapshot do not count, so nothing goes because replication stands still.
//
// What is kept does not depend on what was removed before: the newest point of a period is kept by the rule of that period from
// the moment it is taken, until so many later periods have points of their own.

import { FarsideError } from '../../errors.ts';
import { isMirrorSnapshot, type Header, type MirrorSnapshot, type Snapshot } from '../../image/header.ts';
import { inOrder, isCopy, takenAtMs } from './history.ts';

const units = ['h', 'd', 'w', 'm', 'y'] as const;
type Unit = (typeof units)[number];
export type KeepPolicy = Partial<Record<Unit, number>>;

/** Points of one image: the header, which every change rewrites, tells of each. */
export const keptPointsMax = 200;

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
/** 1 January 1970 was a Thursday. */
const daysToMonday = 3;

const periodOf: Record<Unit, (atMs: number) => number> = {
  h: (atMs) => Math.floor(atMs / hourMs),
  d: (atMs) => Math.floor(atMs / dayMs),
  w: (atMs) => Math.floor((Math.floor(atMs / dayMs) + daysToMonday) / 7),
  m: (atMs) => new Date(atMs).getUTCFullYear() * 12 + new Date(atMs).getUTCMonth(),
  y: (atMs) => new Date(atMs).getUTCFullYear(),
};

/** The policy that an image of a pool follows; undefined: none. */
export function effectivePolicy(
  header: Pick<Header, 'mirror'>,
  pool: { retention?: string | undefined },
): KeepPolicy | undefined {
  const text = header.mirror?.retention ?? pool.retention;
  return text === undefined ? undefined : parseKeepPolicy(text);
}

/** `none` keeps nothing besides the newest. EINVAL: not a policy, or more than `keptPointsMax` points. */
export function parseKeepPolicy(text: string): KeepPolicy {
  if (text === 'none') return {};
  const policy: KeepPolicy = {};
  for (const part of text.split(',')) {
    const match = /^(\d{1,4})([hdwmy])$/.exec(part.trim());
    const unit = match?.[2] as Unit | undefined;
    if (!match || !unit || Number(match[1]) === 0 || policy[unit] !== undefined) throw malformed(text);
    policy[unit] = Number(match[1]);
  }
  const count = Object.values(policy).reduce((sum, one) => sum + one, 0);
  if (count > keptPointsMax)
    throw new FarsideError('EINVAL', `'${text}' keeps up to ${count} points: at most ${keptPointsMax} are possible`);
  return policy;
}

const malformed = (text: string): FarsideError =>
  new FarsideError(
    'EINVAL',
    `invalid retention '${text}': use counts of hours, days, weeks, months and years, as in 24h,7d,4w,12m, or none`,
  );

/** The inverse of `parseKeepPolicy`. */
export function formatKeepPolicy(policy: KeepPolicy): string {
  const parts = units.flatMap((unit) => (policy[unit] === undefined ? [] : [`${policy[unit]}${unit}`]));
  return parts.length === 0 ? 'none' : parts.join(',');
}

export type TimedPoint = { id: number; atMs: number };

/** Ids of the points that the policy keeps, and of the newest. */
export function keptPoints(points: readonly TimedPoint[], policy: KeepPolicy): Set<number> {
  const newestFirst = points.toSorted((a, b) => b.atMs - a.atMs || b.id - a.id);
  const kept = new Set(newestFirst.slice(0, 1).map(({ id }) => id));
  for (const unit of units) {
    const periods = new Set<number>();
    for (const { id, atMs } of newestFirst) {
      const period = periodOf[unit](atMs);
      if (periods.size >= (policy[unit] ?? 0) && !periods.has(period)) break;
      if (!periods.has(period)) kept.add(id);
      periods.add(period);
    }
  }
  return kept;
}

/** A replica's snapshots with those marked that the policy keeps (`retained`), which pruning then spares. */
export function withRetained(snapshots: readonly Snapshot[], policy: KeepPolicy | undefined): Snapshot[] {
  const copies = snapshots.filter(isMirrorSnapshot).filter((one) => isCopy(one) && one.namespace.complete);
  const points = copies.map((one) => ({ id: one.id, atMs: takenAtMs(one) }));
  const kept = policy ? keptPoints(points, policy) : new Set<number>();
  return snapshots.map((snapshot) => (isMirrorSnapshot(snapshot) ? marked(snapshot, kept.has(snapshot.id)) : snapshot));
}

function marked(snapshot: MirrorSnapshot, isRetained: boolean): Snapshot {
  const { retained: _, ...namespace } = snapshot.namespace;
  return { ...snapshot, namespace: isRetained ? { ...namespace, retained: true } : namespace };
}

/** Of the primary's snapshots that a replica lacks, the first that its policy keeps: it is copied before those behind it. */
export function firstKept(
  lacking: readonly MirrorSnapshot[],
  policy: KeepPolicy | undefined,
): MirrorSnapshot | undefined {
  const ordered = inOrder(lacking);
  if (!policy) return ordered.at(-1);
  const kept = keptPoints(
    ordered.map((one) => ({ id: one.id, atMs: takenAtMs(one) })),
    policy,
  );
  return ordered.find(({ id }) => kept.has(id));
}
