// Every sequence of operations on two sites, and on a chain of three, up to a length, and long random ones on both, against rules that are
// stated over true histories (role-rules.ts).

import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { act, actions, decisionOf, faults, isPrimary, newWorld, snapshotsMax } from './role-model.ts';
import type { Fault, Step, World } from './role-model.ts';
import { brokenRule } from './role-rules.ts';

const twoSiteSteps: Step[] = actions.flatMap((action) => [0, 1].map((site) => ({ action, site, other: 1 - site })));
/** Site 1 pulls from both of its neighbours, the others from it. */
const chainSteps: Step[] = actions.flatMap((action) =>
  [
    { site: 0, other: 1 },
    { site: 1, other: 0 },
    { site: 1, other: 2 },
    { site: 2, other: 1 },
  ]
    .filter(({ site, other }) => action === 'begin' || site !== 1 || other === 0)
    .map((sites) => ({ action, ...sites })),
);
const name = (step: Step): string =>
  step.action === 'redeliver'
    ? ''
    : `${step.action} ${step.site}${step.action === 'begin' ? ` from ${step.other}` : ''}`;

const after = (world: World, steps: readonly string[]): World => {
  const byName = new Map([...twoSiteSteps, ...chainSteps].map((step) => [name(step), step]));
  return steps.reduce((current, step) => act(current, byName.get(step)!), world);
};

/** Breadth first over distinct worlds. Returns the shortest sequence that breaks a rule, and how many worlds were seen. */
function explore(
  start: World,
  stepsMax: number,
  choices: readonly Step[] = twoSiteSteps,
): { failure?: string; worldCount: number } {
  let frontier: { world: World; path: string[] }[] = [{ world: start, path: [] }];
  const seen = new Set([JSON.stringify(start)]);
  for (let depth = 0; depth <= stepsMax; depth++) {
    const next: typeof frontier = [];
    for (const { world, path } of frontier) {
      const broken = brokenRule(world);
      if (broken) return { failure: `${path.join(', ')}: ${broken}`, worldCount: seen.size };
      if (depth === stepsMax) continue;
      for (const step of choices) {
        const changed = act(world, step);
        const key = changed === world ? '' : JSON.stringify(changed);
        if (key === '' || seen.has(key)) continue;
        seen.add(key);
        next.push({ world: changed, path: [...path, name(step)] });
      }
    }
    frontier = next;
  }
  return { worldCount: seen.size };
}

const synced = ['begin 1 from 0', 'finish 1'];
const failedOver = [...synced, 'demote 0', 'begin 1 from 0', 'finish 1', 'promote 1'];
const failedBack = [...failedOver, 'begin 0 from 1', 'finish 0', 'demote 1', 'begin 0 from 1', 'finish 0', 'promote 0'];
const split = [...synced, 'write 0', 'force 1', 'write 1', 'snapshot 1'];

const depth = 7;
const starts: Record<string, string[]> = {
  'a new image': [],
  'a replica that has caught up': synced,
  'a fail-over': failedOver,
  'a fail-over and the way back': failedBack,
  'two primaries with different writes': split,
};

for (const [start, steps] of Object.entries(starts)) {
  test(`every sequence of ${depth} operations after ${start} is decided by the rule`, () => {
    const { failure, worldCount } = explore(after(newWorld(2), steps), depth);
    expect(failure).toBeUndefined();
    expect(worldCount).toBeGreaterThan(1000);
  });
}

const chained = [...synced, 'begin 2 from 1', 'finish 2'];
const chainDepth = 5;
const chainStarts: Record<string, string[]> = {
  'a chain in step': chained,
  'a demotion that came to its end': [...chained, 'demote 0', ...synced, 'begin 2 from 1', 'finish 2'],
  'a promotion in the middle': [...chained, 'demote 0', ...synced, 'promote 1', 'write 1', 'snapshot 1'],
  'a forced promotion in the middle': [...chained, 'write 0', 'snapshot 0', 'force 1', 'write 1', 'snapshot 1'],
  'a forced promotion at the end': [...chained, 'force 2', 'write 2', 'snapshot 2', 'demote 2'],
};

for (const [start, steps] of Object.entries(chainStarts)) {
  test(`every sequence of ${chainDepth} operations on three sites after ${start} is decided by the rule`, () => {
    const { failure, worldCount } = explore(after({ ...newWorld(3), chain: true }, steps), chainDepth, chainSteps);
    expect(failure).toBeUndefined();
    expect(worldCount).toBeGreaterThan(1000);
  });
}

/** Random steps of any of the sites, with pulls from any other. */
const stepOf = (siteCount: number): fc.Arbitrary<Step> =>
  fc
    .record({
      action: fc.constantFrom(...actions, 'write' as const, 'snapshot' as const, 'begin' as const, 'finish' as const),
      site: fc.nat(siteCount - 1),
      hop: fc.integer({ min: 1, max: siteCount - 1 }),
    })
    .map(({ action, site, hop }) => ({ action, site, other: (site + hop) % siteCount }));

/** The world after `steps`, or the first in which a rule is broken. */
function run(start: World, steps: readonly Step[]): { world: World; broken: string | undefined } {
  let world = start;
  for (const step of steps) {
    world = act(world, step);
    const broken = brokenRule(world);
    if (broken) return { world, broken };
  }
  return { world, broken: undefined };
}

test('claims and acknowledgements that arrive again, late or out of order, change no decision', () => {
  const redelivery = fc.nat(50).map((index): Step => ({ action: 'redeliver', index }));
  fc.assert(
    fc.property(
      fc.array(fc.oneof({ weight: 3, arbitrary: stepOf(2) }, { weight: 1, arbitrary: redelivery }), {
        minLength: 20,
        maxLength: 150,
      }),
      (steps) => {
        expect(run({ ...newWorld(2), sent: [] }, steps).broken).toBeUndefined();
      },
    ),
    { numRuns: 1500 },
  );
});

for (const siteCount of [2, 3]) {
  test(`long random histories on ${siteCount} sites keep every rule`, () => {
    fc.assert(
      fc.property(fc.array(stepOf(siteCount), { minLength: 20, maxLength: 120 }), (steps) => {
        expect(run(newWorld(siteCount), steps).broken).toBeUndefined();
      }),
      { numRuns: 1500 },
    );
  });
}

test('whatever happened, a replica that asks for a resync of a primary ends equal to it', () => {
  fc.assert(
    fc.property(fc.array(stepOf(2), { maxLength: 80 }), fc.nat(1), (steps, primary) => {
      const replica = 1 - primary;
      const settle: Step[] = [
        { action: 'demote', site: replica, other: primary },
        { action: 'force', site: primary, other: replica },
        { action: 'snapshot', site: primary, other: replica },
        { action: 'resync', site: replica, other: primary },
        ...Array.from({ length: 4 }, (): Step[] => [
          { action: 'begin', site: replica, other: primary },
          { action: 'finish', site: replica, other: primary },
        ]).flat(),
      ];
      fc.pre(run(newWorld(2), steps).world.sites.every((site) => site.snapshots.length > 0));
      const { world, broken } = run(run(newWorld(2), steps).world, settle);
      expect(broken).toBeUndefined();
      expect(isPrimary(world.sites[primary]!)).toBe(true);
      expect(decisionOf(world, replica, primary)).toEqual({ kind: 'idle' });
      expect(world.sites[replica]!.head).toEqual(
        world.sites[primary]!.lines[world.sites[primary]!.snapshots.at(-1)!.id],
      );
    }),
    { numRuns: 500 },
  );
});

test('lists stay short: at most the cap, the links and what a role change adds for each peer', () => {
  fc.assert(
    fc.property(fc.array(stepOf(2), { minLength: 60, maxLength: 120 }), (steps) => {
      // Role changes without any acknowledgement add one snapshot each, as in Ceph; leave them out.
      const quiet = steps.filter(({ action }) => !['demote', 'promote', 'force'].includes(action));
      const { world } = run(newWorld(2), quiet);
      for (const site of world.sites) expect(site.snapshots.length).toBeLessThanOrEqual(snapshotsMax);
    }),
    { numRuns: 300 },
  );
});

/** By every short sequence on two sites, else by long random ones on three. */
function catches(fault: Fault): boolean {
  const short = Object.values(starts).some(
    (steps) => explore(after(newWorld(2, fault), steps), depth - 1).failure !== undefined,
  );
  const long = fc.property(
    fc.array(stepOf(3), { minLength: 40, maxLength: 120 }),
    (steps) => run(newWorld(3, fault), steps).broken === undefined,
  );
  return short || fc.check(long, { numRuns: 2000, seed: 1 }).failed;
}

for (const fault of faults) {
  test(`the rules catch a planted bug: ${fault}`, () => {
    expect(catches(fault)).toBe(true);
  });
}
