// `npm run bench [-- --only NAME] [--json PATH]`: ratios against baselines of the same run, as a table and as JSON.

import { parseArgs } from 'node:util';
import { importThroughput, initialSync, latencies, mapShare, snapshotRequests, splitBrain } from './cases.ts';
import { idleTick } from './idle-tick.ts';
import { lambdaConsumer } from './lambda.ts';
import { consumerMemory } from './memory.ts';
import { startPeered, type Peered } from './peered.ts';
import { holds, printTable, writeJson, type Figure } from './report.ts';

const cases: Record<string, (sites: Peered) => Promise<Figure[]>> = {
  'snapshot-requests': snapshotRequests,
  'idle-tick': idleTick,
  memory: consumerMemory,
  lambda: lambdaConsumer,
  import: importThroughput,
  'initial-sync': initialSync,
  // One after the other: the second goes on with the image of the first.
  latencies: async (sites) => [...(await latencies(sites)), ...(await splitBrain(sites))],
  map: mapShare,
};

const { values } = parseArgs({
  options: { only: { type: 'string', multiple: true }, json: { type: 'string', default: 'bench-results.json' } },
});
const chosen = values.only ?? Object.keys(cases);
/** Those that measure bytes on the wire. */
const counted = new Set(['latencies']);
const figures: Figure[] = [];
for (const name of chosen) {
  const run = cases[name];
  if (!run) throw new Error(`no such case: ${name}; there are ${Object.keys(cases).join(', ')}`);
  console.error(`… ${name}`);
  const sites = await startPeered({ counted: counted.has(name) });
  try {
    figures.push(...(await run(sites)));
  } finally {
    await sites.stop();
  }
}
printTable(figures);
writeJson(values.json, figures);
const missed = figures.filter((figure) => !holds(figure));
console.log(
  `${figures.length - missed.length} of ${figures.length} figures within their limits; written to ${values.json}`,
);
// At once: connections that are kept need not be waited for.
process.exit(missed.length === 0 ? 0 : 1);
