// `npm run crash -- --minutes 10`: writers are killed for so long, in every way in turn; the exit code tells whether anything was
// lost. `--seed S`: of those in this process.

import { parseArgs } from 'node:util';
import { KilledProcesses, KilledWriters, type CrashRun } from './crash-rounds.ts';

const { values } = parseArgs({ options: { minutes: { type: 'string', default: '1' }, seed: { type: 'string' } } });
const startedAtMs = performance.now();
const untilMs = Number(values.minutes) * 60_000;
const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed);
const reportEveryMs = 30_000;

const runs: Record<string, CrashRun> = {
  'processes, bucket': await KilledProcesses.open({ imageCount: 8 }),
  'processes, log on the disk': await KilledProcesses.open({ imageCount: 8, hasLog: true }),
  'processes, with a replica': await KilledProcesses.open({ imageCount: 3, isMirrored: true }),
  [`in process, with a replica, seed ${seed}`]: await KilledWriters.open(seed),
};

const report = (): void => {
  for (const [name, { counts }] of Object.entries(runs))
    console.log(
      `${name}: ${counts.killCount} kills of ${counts.crashCount} writers, ${counts.flushedCount} of them after a flush; ${counts.pointCount} points of replicas`,
    );
};

try {
  for (let reportedAtMs = 0; performance.now() - startedAtMs < untilMs;) {
    for (const run of Object.values(runs)) await run.round();
    if (performance.now() - startedAtMs - reportedAtMs < reportEveryMs) continue;
    reportedAtMs = performance.now() - startedAtMs;
    report();
  }
} finally {
  report();
  for (const run of Object.values(runs)) await run.end();
}
