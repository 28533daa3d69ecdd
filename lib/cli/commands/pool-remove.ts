// `pool rm`: deletes an empty pool.

import { defineCommand } from '../command.ts';
import { namedPoolArgument } from '../parse/parameters.ts';
import { unframed } from '../output/wording.ts';

export const poolRemove = defineCommand({
  path: 'pool remove',
  aliases: ['rm'],
  summary: 'delete an empty pool',
  arguments: { pool: namedPoolArgument },
  options: {},
  examples: ['farside pool rm backup'],
  async run({ args, context }) {
    const client = await context.client();
    await unframed(() => client.removePool(args.pool));
  },
});
