// The simulation itself: one seed gives one trace, and its runs do what they are meant to do.

import { describe, expect, test } from 'vitest';

import { Simulation, type Statistics } from './simulation.ts';

async function traceOf(seed: number): Promise<{ hash: number; events: number; lines: number }> {
  let lines = 0;
  const simulation = new Simulation({ seed, onTrace: () => (lines += 1) });
  const { events } = await simulation.run();
  return { hash: simulation.scheduler.traceHash, events, lines };
}

describe('simulation', () => {
  test.each([1, 2, 3, 5, 8, 13, 21, 34])('seed %i gives one trace', async (seed) => {
    const [first, second] = [await traceOf(seed), await traceOf(seed)];
    expect(second).toEqual(first);
    expect(first.lines).toBeGreaterThan(50);
  });

  test('two seeds give two traces', async () => {
    expect((await traceOf(1)).hash).not.toBe((await traceOf(2)).hash);
  });

  test(
    'every command succeeds somewhere and is refused or fails somewhere, and some die',
    { timeout: 240_000 },
    async () => {
      const outcomes = new Map<string, Set<string>>();
      const note = (commands: Statistics['commands']): void => {
        for (const [command, counts] of Object.entries(commands)) {
          const seen = outcomes.get(command) ?? new Set();
          for (const outcome of Object.keys(counts)) seen.add(outcome);
          outcomes.set(command, seen);
        }
      };
      for (let seed = 1; seed <= 150; seed++) note((await new Simulation({ seed }).run()).commands);
      const neverDone = [...outcomes].filter(([, seen]) => !seen.has('done')).map(([command]) => command);
      expect(neverDone).toEqual([]);
      expect(outcomes.size).toBeGreaterThanOrEqual(24);
      const all = new Set([...outcomes.values()].flatMap((seen) => [...seen]));
      for (const outcome of ['died', 'site down', 'EROFS', 'ESTALE', 'EEXIST', 'EBUSY', 'ETIMEDOUT'])
        expect(all).toContain(outcome);
    },
  );
});
