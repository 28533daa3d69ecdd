// A writer tells its site how far its journal is: often enough for replicas, and not more.

import { expect, test } from 'vitest';

import type { Advance } from '../../lib/cli/client/journal.ts';
import { journalTeller } from '../../lib/cli/nbd/journal-teller.ts';
import { WorldClock } from '../mirror/two-sites.ts';

const at = (seq: number) => ({ epoch: '0123456789abcdef', seq, entry: seq });

async function toldBy(seqs: number, everyMs: number, fails = false): Promise<Advance[]> {
  const clock = new WorldClock();
  const told: Advance[] = [];
  const tell = journalTeller(clock, async (advance) => {
    told.push(advance);
    if (fails) throw new Error('away');
  });
  for (let seq = 1; seq <= seqs; seq++) {
    tell(at(seq));
    await clock.run(clock.sleep(everyMs));
  }
  await clock.run(clock.sleep(5000));
  return told;
}

test('many advances within a second are told as one, and the newest is not lost', async () => {
  const told = await toldBy(100, 100);
  expect(told.length).toBeLessThanOrEqual(12);
  expect(told.at(-1)).toMatchObject(at(100));
});

test('the first and one each half minute are recorded', async () => {
  const told = await toldBy(70, 1000);
  expect(told.filter(({ record }) => record).map(({ seq }) => seq)).toHaveLength(3);
  expect(told[0]).toMatchObject({ ...at(1), record: true });
});

test('a record that was not taken is asked for again', async () => {
  const told = await toldBy(5, 1000, true);
  expect(told.every(({ record }) => record)).toBe(true);
});
