// `pool ls`: the pools of a site.

import { defineReport } from '../command.ts';
import { unframed } from '../output/wording.ts';
import { xmlShapes } from '../output/xml-shapes.ts';

export const poolList = defineReport({
  path: 'pool list',
  aliases: ['ls'],
  summary: 'list pools',
  arguments: {},
  options: {},
  xml: xmlShapes.pools,
  examples: ['farside pool ls', 'farside --cluster site-b pool ls --format json'],
  async run({ context, report }) {
    const client = await context.client();
    const names = await unframed(() => client.listPools());
    report({ value: names, plain: () => names.map((name) => `${name}\n`).join('') });
  },
});
