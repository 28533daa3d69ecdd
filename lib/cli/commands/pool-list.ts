// `pool ls`: the pools of a site.

import { defineCommand } from '../command.ts';
import { unframed } from '../wording.ts';

export const poolList = defineCommand({
  path: 'pool list',
  aliases: ['ls'],
  summary: 'list pools',
  arguments: {},
  options: {},
  examples: ['farside pool ls', 'farside --cluster site-b pool ls --format json'],
  async run({ context }) {
    const client = await context.client();
    const names = await unframed(() => client.listPools());
    context.output.report({ value: names, plain: () => names.map((name) => `${name}\n`).join('') });
  },
});
