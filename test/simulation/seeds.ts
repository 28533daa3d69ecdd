// Owns which seeds the tests run. Several files share the range, because vitest runs files side by side.

import { describe, expect, test } from 'vitest';

import { simulate } from './simulation.ts';

const seedsPerFile = 500;
/** Short enough that a failure is named soon, long enough that naming costs nothing. */
const seedsPerTest = 50;

/** Lets the test runner talk to its worker: a simulation leaves the event loop no time. */
const breathe = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export function runSeeds(fileIndex: number): void {
  describe('simulation', () => {
    const first = fileIndex * seedsPerFile + 1;
    for (let from = first; from < first + seedsPerFile; from += seedsPerTest) testSeeds(from, from + seedsPerTest - 1);
  });
}

function testSeeds(from: number, to: number): void {
  test(`seeds ${from} to ${to} keep every invariant`, { timeout: 120_000 }, async () => {
    let events = 0;
    for (let seed = from; seed <= to; seed++) {
      events += (await simulate({ seed })).events;
      await breathe();
    }
    expect(events).toBeGreaterThan(seedsPerTest);
  });
}
