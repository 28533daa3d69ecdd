// Every planted bug is caught, as the invariant that it breaks, and the same seeds without it are clean. Runs are about what the bug is in (`focus`), so that few seeds suffice. Without this the
// simulation might be blind and nobody would know.

import { describe, expect, test } from 'vitest';

import { plantedBugs, type PlantedBug } from './planted-bugs.ts';
import { simulate, SimulationFailure } from './simulation.ts';

const seedsMax = 60;
/** Another invariant may break first in some run: what a bug does has more than one face. */
const failuresMax = 8;

async function failureOf(seed: number, plant: PlantedBug['plant']): Promise<SimulationFailure | undefined> {
  try {
    await simulate({ seed, ...plant });
    return undefined;
  } catch (error) {
    if (error instanceof SimulationFailure) return error;
    throw error;
  }
}

/** What the bug breaks, run by run, up to the first run in which it is the invariant that it was planted for. */
async function hunt({ invariant, plant }: PlantedBug): Promise<{ broken: string[]; seed: number }> {
  const broken: string[] = [];
  for (let seed = 1; seed <= seedsMax && broken.length < failuresMax; seed++) {
    const failure = await failureOf(seed, plant);
    if (failure) broken.push(failure.violation?.invariant ?? failure.message);
    if (broken.at(-1) === invariant) return { broken, seed };
  }
  return { broken, seed: seedsMax };
}

describe('a planted bug is caught', () => {
  test.each(plantedBugs)('$invariant: $name', async (bug) => {
    const { broken, seed } = await hunt(bug);
    expect(broken).toContain(bug.invariant);
    const { sabotage: _, seams: __, ...run } = bug.plant;
    expect(await failureOf(seed, run)).toBeUndefined();
  });

  test('there is one for every invariant that the simulation checks', () => {
    expect(new Set(plantedBugs.map(({ invariant }) => invariant))).toEqual(
      new Set(['I1', 'I2', 'I3', 'I4', 'I5', 'I6', 'I7', 'I8', 'I9', 'I11']),
    );
  });
});

describe('a failure', () => {
  test('tells its seed, the invariant, the last events and how to replay it', async () => {
    const bug = plantedBugs[0]!;
    const { seed } = await hunt(bug);
    const failure = await failureOf(seed, bug.plant);
    expect(failure?.message).toContain(`seed ${seed}: I1 is broken: `);
    expect(failure?.message).toContain('the last events:');
    expect(failure?.message).toContain(`npm run simulate -- --seed ${seed}`);
  });
});
