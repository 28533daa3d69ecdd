// `npm run simulate -- [--minutes N] [--seeds N] [--seed S] [--trace] [--statistics]`: seeds one after another, from S on, until the time or
// the count is over. Failures are gathered by what they say; the exit code tells whether there were any.
// `--seed S` alone runs that seed, `--trace` shows its events.

import { parseArgs } from 'node:util';

import { SimulationFailure, simulate, type Statistics } from './simulation.ts';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string' },
    seeds: { type: 'string' },
    seed: { type: 'string' },
    trace: { type: 'boolean', default: false },
    statistics: { type: 'boolean', default: false },
  },
});

const startedAtMs = performance.now();
const elapsedMs = (): number => performance.now() - startedAtMs;
const firstSeed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed);
const isSingle = values.minutes === undefined && values.seeds === undefined;
const seedsMax = isSingle ? 1 : Number(values.seeds ?? Infinity);
const untilMs = Number(values.minutes ?? Infinity) * 60_000;
const reportEveryMs = 30_000;

/** Numbers and ids differ from seed to seed; what is left tells one cause from another. */
const causeOf = (message: string): string =>
  (message.split('\n')[0] ?? '')
    .replace(/^seed \d+: /, '')
    .replace(/[0-9a-f]*\d[0-9a-f-]*/g, '#')
    .slice(0, 140);

const failures = new Map<string, number[]>();
const commands: Statistics['commands'] = {};
let requests = 0;
let seed = firstSeed;
let reportedAtMs = 0;

function addUp(statistics: Statistics): void {
  requests += statistics.requests;
  for (const [command, outcomes] of Object.entries(statistics.commands)) {
    for (const [outcome, count] of Object.entries(outcomes))
      (commands[command] ??= {})[outcome] = (commands[command]?.[outcome] ?? 0) + count;
  }
}

for (; seed < firstSeed + seedsMax && elapsedMs() < untilMs; seed++) {
  try {
    addUp(await simulate({ seed, ...(values.trace && { onTrace: (line: string) => console.log(line) }) }));
  } catch (error) {
    if (!(error instanceof SimulationFailure)) throw error;
    const cause = causeOf(error.message);
    if (isSingle || !failures.has(cause)) console.log(`${error.message}\n`);
    failures.set(cause, [...(failures.get(cause) ?? []), seed]);
  }
  if (!isSingle && elapsedMs() - reportedAtMs > reportEveryMs) {
    reportedAtMs = elapsedMs();
    console.log(`seeds ${firstSeed} to ${seed}: ${[...failures.values()].flat().length} failed`);
  }
}

const count = seed - firstSeed;
for (const [cause, seeds] of [...failures].toSorted(([, a], [, b]) => b.length - a.length))
  console.log(`${seeds.length} × ${cause} (seeds ${seeds.slice(0, 8).join(', ')})`);
if (values.statistics)
  for (const [command, outcomes] of Object.entries(commands)) console.log(command.padEnd(18), JSON.stringify(outcomes));
console.log(
  `${count} seeds from ${firstSeed} in ${(elapsedMs() / 1000).toFixed(1)} s: ${((count * 1000) / elapsedMs()).toFixed(1)} a second, ${Math.round(requests / count)} requests each, ${[...failures.values()].flat().length} failed`,
);
process.exitCode = failures.size > 0 ? 1 : 0;
