// `npm run bench [-- --store s3] [--only NAME] [--json PATH]`: ratios against baselines of the same run, as a table and as JSON.

import { parseArgs } from 'node:util';
import {
  importThroughput,
  initialSync,
  latencies,
  mapShare,
  snapshotRequests,
  splitBrain,
  syncRequests,
} from './cases.ts';
import { findTool } from '../require.ts';
import { idleTick } from './idle-tick.ts';
import { lambdaConsumer } from './lambda.ts';
import { journalLag } from './journal.ts';
import { consumerMemory } from './memory.ts';
import { nbdFlushes } from './nbd-flush.ts';
import { nbdThroughput, nbdTools } from './nbd.ts';
import { startPeered, type Peered } from './peered.ts';
import { holds, printTable, writeJson, type Figure, type NotMeasured } from './report.ts';
import { openStore, storeNames, type Store, type StoreName } from './store.ts';
import { workerConsumer } from './worker.ts';

type Case = {
  run: (sites: Peered) => Promise<Figure[]>;
  /** It measures bytes on the wire. */
  counted?: true;
  /** Makes no sense on S3, and why. */
  notOnS3?: string;
  /** Programs without which there is nothing to compare with. */
  tools?: readonly string[];
};

const cases: Record<string, Case> = {
  // First: it measures what this process has resident.
  lambda: { run: lambdaConsumer },
  'snapshot-requests': { run: snapshotRequests },
  'idle-tick': { run: idleTick },
  memory: {
    run: consumerMemory,
    notOnS3: "the threads and the directory of a node site; 'lambda' is the consumer on S3",
  },
  worker: { run: workerConsumer, notOnS3: 'the Worker has R2; its limits are measured there' },
  import: { run: importThroughput },
  'initial-sync': { run: initialSync },
  'sync-requests': { run: syncRequests },
  // One after the other: the second goes on with the image of the first.
  latencies: { run: async (sites) => [...(await latencies(sites)), ...(await splitBrain(sites))], counted: true },
  map: { run: mapShare },
  nbd: { run: nbdThroughput, tools: nbdTools, notOnS3: 'it compares the server, not the bucket behind it' },
  'nbd-flush': { run: nbdFlushes },
  journal: { run: journalLag, counted: true },
};

const { values } = parseArgs({
  options: {
    store: { type: 'string', default: 'directory' },
    only: { type: 'string', multiple: true },
    json: { type: 'string', default: 'bench-results.json' },
  },
});
const chosen = values.only ?? Object.keys(cases);
const store = await openStore(storeOf(values.store));
const figures: Figure[] = [];
const left: NotMeasured[] = [];
try {
  for (const name of chosen) await measure(name, store);
} finally {
  await store.stop();
}
console.log(`store: ${store.label}`);
printTable(figures);
for (const { name, notMeasured } of left) console.log(`not measured on ${store.name}: ${name} (${notMeasured})`);
writeJson(values.json, store.name, [...figures, ...left]);
const missed = figures.filter((figure) => !holds(figure));
console.log(
  `${figures.length - missed.length} of ${figures.length} figures within their limits; written to ${values.json}`,
);
// At once: connections that are kept need not be waited for.
process.exit(missed.length === 0 ? 0 : 1);

function storeOf(name: string): StoreName {
  const found = storeNames.find((one) => one === name);
  if (found === undefined) throw new Error(`no such store: ${name}; there are ${storeNames.join(', ')}`);
  return found;
}

async function measure(name: string, on: Store): Promise<void> {
  const one = cases[name];
  if (!one) throw new Error(`no such case: ${name}; there are ${Object.keys(cases).join(', ')}`);
  if (on.name === 's3' && one.notOnS3 !== undefined) return void left.push({ name, notMeasured: one.notOnS3 });
  const missing = one.tools?.find((tool) => findTool(tool) === undefined);
  if (missing !== undefined) return void left.push({ name, notMeasured: `${missing} is not installed` });
  console.error(`… ${name}`);
  const sites = await startPeered(on, { counted: one.counted === true });
  try {
    figures.push(...(await one.run(sites)));
  } finally {
    await sites.stop();
  }
}
