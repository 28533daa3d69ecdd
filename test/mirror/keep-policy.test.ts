// Which points a policy keeps: by example, and by properties that hold for any list.

import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import {
  firstKept,
  formatKeepPolicy,
  keptPoints,
  parseKeepPolicy,
  withRetained,
  type KeepPolicy,
  type TimedPoint,
} from '../../lib/mirror/roles/keep-policy.ts';
import { pruned } from '../../lib/mirror/roles/retention.ts';
import { mirrorSnapshot } from './role-model.ts';

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
const at = (text: string): number => Date.parse(`${text}Z`);
const kept = (times: readonly string[], policy: string): string[] => {
  const points = times.map((time, id) => ({ id, atMs: at(time) }));
  const ids = keptPoints(points, parseKeepPolicy(policy));
  return times.filter((_, id) => ids.has(id));
};

const counts = fc.option(fc.integer({ min: 1, max: 30 }), { nil: undefined });
const policies: fc.Arbitrary<KeepPolicy> = fc
  .record({ h: counts, d: counts, w: counts, m: counts, y: counts })
  .map((policy) => Object.fromEntries(Object.entries(policy).filter(([, count]) => count !== undefined)));
/** Points in order, minutes to weeks apart. */
const histories: fc.Arbitrary<TimedPoint[]> = fc
  .array(fc.integer({ min: 1, max: 30 * 24 * 60 }), { minLength: 1, maxLength: 60 })
  .map((gaps) => {
    let atMs = at('2026-11-23T07:06:09');
    return gaps.map((minutes, id) => ({ id, atMs: (atMs += minutes * 60_000) }));
  });

describe('a policy', () => {
  test('is read and written', () => {
    expect(parseKeepPolicy('24h, 7d,4w,12m')).toEqual({ h: 24, d: 7, w: 4, m: 12 });
    expect(formatKeepPolicy({ m: 12, h: 24 })).toBe('24h,12m');
    expect(formatKeepPolicy(parseKeepPolicy('none'))).toBe('none');
    for (const text of ['', '24', 'h', '0h', '1h,2h', '24x', '-1h', '1.5h', '9999h', '150h,100d'])
      expect(() => parseKeepPolicy(text), text).toThrow(expect.objectContaining({ code: 'EINVAL' }));
  });

  test('any that is written is read back', () => {
    fc.assert(
      fc.property(policies, (policy) => {
        expect(parseKeepPolicy(formatKeepPolicy(policy))).toEqual(policy);
      }),
    );
  });

  test('keeps the newest of each hour, day, week and month that has one', () => {
    const hours = ['2026-11-23T10:05', '2026-11-23T10:55', '2026-11-23T11:00', '2026-11-23T13:20', '2026-11-23T13:40'];
    expect(kept(hours, '2h')).toEqual(['2026-11-23T11:00', '2026-11-23T13:40']);
    const days = ['2026-11-22T23:59', '2026-11-23T00:00', '2026-11-23T23:59', '2026-11-24T00:00'];
    expect(kept(days, '3d')).toEqual(['2026-11-22T23:59', '2026-11-23T23:59', '2026-11-24T00:00']);
    // 22 November 2026 is a Sunday.
    expect(kept(['2026-11-16T00:00', '2026-11-22T23:00', '2026-11-23T00:00'], '2w')).toEqual([
      '2026-11-22T23:00',
      '2026-11-23T00:00',
    ]);
    expect(kept(['2026-10-31T23:59', '2026-11-01T00:00', '2027-11-30T00:00'], '2m')).toEqual([
      '2026-11-01T00:00',
      '2027-11-30T00:00',
    ]);
    expect(kept(['2025-01-01T00:00', '2025-12-31T00:00', '2026-01-01T00:00'], '2y')).toEqual([
      '2025-12-31T00:00',
      '2026-01-01T00:00',
    ]);
  });

  test('a standstill of replication lets nothing go', () => {
    expect(kept(['2026-01-01T00:00', '2026-01-02T00:00'], '2d')).toHaveLength(2);
  });

  test('keeps the newest always, and never more than it counts', () => {
    fc.assert(
      fc.property(histories, policies, (points, policy) => {
        const ids = keptPoints(points, policy);
        expect(ids.has(points.at(-1)!.id)).toBe(true);
        const counted = Object.values(policy).reduce((sum, count) => sum + count, 0);
        expect(ids.size).toBeLessThanOrEqual(Math.max(1, counted));
      }),
    );
  });

  test('what is left does not depend on what was pruned on the way', () => {
    fc.assert(
      fc.property(histories, policies, (points, policy) => {
        let left: TimedPoint[] = [];
        for (const point of points) {
          const ids = keptPoints([...left, point], policy);
          left = [...left, point].filter(({ id }) => ids.has(id));
        }
        expect(left.map(({ id }) => id)).toEqual([...keptPoints(points, policy)].toSorted((a, b) => a - b));
      }),
    );
  });

  test('a larger policy keeps all that a smaller one does', () => {
    fc.assert(
      fc.property(histories, policies, fc.constantFrom('h', 'd', 'w', 'm', 'y'), (points, policy, unit) => {
        const larger = keptPoints(points, { ...policy, [unit]: (policy[unit] ?? 0) + 1 });
        for (const id of keptPoints(points, policy)) expect(larger.has(id)).toBe(true);
      }),
    );
  });
});

describe('a replica', () => {
  const copy = (id: number, atMs: number, mirrorPeerUuids: string[] = []): ReturnType<typeof mirrorSnapshot> => {
    const made = mirrorSnapshot({
      id,
      state: 'non-primary',
      primaryMirrorUuid: 'there',
      primarySnapId: id,
      mirrorPeerUuids,
    });
    return { ...made, namespace: { ...made.namespace, primaryCreatedAtMs: atMs } };
  };
  const idsOf = (snapshots: readonly { id: number }[]): number[] => snapshots.map(({ id }) => id);

  test('keeps what the policy marks, its link, and what peers still need', () => {
    const copies = [copy(1, 0), copy(2, hourMs), copy(3, hourMs + 1, ['cascade']), copy(4, hourMs + 2), copy(5, dayMs)];
    expect(idsOf(pruned(withRetained(copies, { d: 2 })))).toEqual([3, 4, 5]);
    expect(idsOf(pruned(withRetained(copies, undefined)))).toEqual([3, 5]);
    expect(idsOf(pruned(withRetained(withRetained(copies, { h: 9 }), {})))).toEqual([3, 5]);
  });

  test('copies the points in between that it is to keep, oldest first, and without a policy only the newest', () => {
    const lacking = [10, 11, 12, 13].map((id) =>
      Object.assign(mirrorSnapshot({ id, state: 'primary' }), { createdAtMs: (id - 10) * hourMs * 0.6 }),
    );
    expect(firstKept(lacking, undefined)?.id).toBe(13);
    expect(firstKept(lacking, { h: 24 })?.id).toBe(11); // 10 and 11 are of one hour
    expect(firstKept(lacking.slice(2), { h: 24 })?.id).toBe(13);
    expect(firstKept(lacking, { y: 1 })?.id).toBe(13);
  });
});
