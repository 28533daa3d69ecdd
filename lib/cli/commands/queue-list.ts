// `queue ls`: messages of a site that were given up.

import { defineReport } from '../command.ts';
import { textTable } from '../output/text-table.ts';
import { unframed } from '../output/wording.ts';
import { xmlShapes } from '../output/xml-shapes.ts';

const columns = ['ID', 'TYPE', 'POOL', 'COUNT', 'LAST', 'WHY'].map((header) => ({ header }));

export const queueList = defineReport({
  path: 'queue list',
  aliases: ['ls'],
  summary: 'list messages that were given up',
  description: `A message whose every attempt failed leaves a record. Nothing depends on it: ticks look for the same work. When the reason is
gone, 'farside queue retry' has it done at once.`,
  arguments: {},
  options: {},
  xml: xmlShapes.failures,
  examples: ['farside queue ls', 'farside --cluster site-b queue ls --format json'],
  async run({ context, report }) {
    const client = await context.client();
    const value = await unframed(() => client.listFailures());
    const rows = value.map(({ id, type, pool, count, lastAtMs, why }) => [
      id,
      type,
      pool ?? '-',
      String(count),
      new Date(lastAtMs).toISOString(),
      why,
    ]);
    report({ value, plain: () => textTable(columns, rows) });
  },
});
