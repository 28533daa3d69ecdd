// `mirror pool retention rm`: nothing is kept besides the newest, where an image does not say otherwise.

import { defineCommand } from '../command.ts';
import { poolArgument } from '../parse/parameters.ts';
import { unframed } from '../output/wording.ts';

export const mirrorPoolRetentionRemove = defineCommand({
  path: 'mirror pool retention remove',
  aliases: ['rm'],
  summary: 'take back the retention policy of a pool',
  arguments: { pool: poolArgument },
  options: {},
  examples: ['farside --cluster site-b mirror pool retention rm rbd'],
  async run({ args, context }) {
    const client = await context.client();
    await unframed(() => client.replicas.removePoolRetention(args.pool));
  },
});
