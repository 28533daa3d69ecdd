// `pool create`: a pool is a name for images and their mirroring. (In Ceph this is `ceph osd pool create`.)

import { defineCommand } from '../command.ts';
import { namedPoolArgument } from '../parse/parameters.ts';
import { unframed } from '../output/wording.ts';

export const poolCreate = defineCommand({
  path: 'pool create',
  summary: 'create a pool',
  description: 'Pools of the same name at two sites can mirror each other.',
  arguments: { pool: namedPoolArgument },
  options: {},
  examples: ['farside pool create rbd', 'farside --cluster site-b pool create backup'],
  async run({ args, context }) {
    const client = await context.client();
    await unframed(() => client.createPool(args.pool));
  },
});
