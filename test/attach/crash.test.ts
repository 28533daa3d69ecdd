// A writer is killed at random points, over and over: what is there afterwards is exactly what a prefix of its requests made, with
// everything that it was told is durable (I5); and at every moment its replica holds such a prefix, never a shorter one than
// before (I2). Processes are killed by SIGKILL, at points in time that are the machine's; writers in this process die between two
// requests, or in the midst of one, as a seed says. `npm run crash -- --minutes 10` goes on for longer.

import { afterEach, expect, test } from 'vitest';
import { KilledProcesses, KilledWriters, type CrashRun } from './crash-rounds.ts';

const open: CrashRun[] = [];
afterEach(async () => {
  for (const run of open.splice(0)) await run.end();
});

async function kill(run: CrashRun, times: number): Promise<CrashRun['counts']> {
  open.push(run);
  for (let count = 0; count < times; count++) await run.round();
  const { killCount, crashCount, flushedCount, pointCount } = run.counts;
  process.stderr.write(
    `${killCount} kills of ${crashCount} writers, ${flushedCount} of them after a flush; ${pointCount} points of replicas\n`,
  );
  return run.counts;
}

const timeout = 180_000;

test(
  'a process that is killed leaves exactly a prefix of its requests, with all that was flushed to the bucket',
  { timeout },
  async () => {
    const { flushedCount } = await kill(await KilledProcesses.open({ imageCount: 4 }), 20);
    expect(flushedCount).toBeGreaterThan(15);
  },
);

test('and with all that was flushed to a log on the disk', { timeout }, async () => {
  const { flushedCount } = await kill(await KilledProcesses.open({ imageCount: 4, hasLog: true }), 20);
  expect(flushedCount).toBeGreaterThan(15);
});

test('its replica holds a prefix at every moment, and all of it in the end', { timeout }, async () => {
  const { flushedCount, pointCount } = await kill(await KilledProcesses.open({ imageCount: 2, isMirrored: true }), 15);
  expect(flushedCount).toBeGreaterThan(10);
  expect(pointCount).toBeGreaterThan(50);
});

test('so do a writer that dies at any request, and its replica', { timeout }, async () => {
  const { flushedCount, pointCount } = await kill(await KilledWriters.open(1), 160);
  expect(flushedCount).toBeGreaterThan(50);
  expect(pointCount).toBeGreaterThan(400);
});
