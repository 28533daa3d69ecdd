// `pool init`: for scripts written for rbd. A farside pool is ready when it is created.

import { FarsideError } from '../../errors.ts';
import { defineCommand } from '../command.ts';
import { poolArgument, switchOption } from '../parse/parameters.ts';
import { unframed } from '../output/wording.ts';

export const poolInit = defineCommand({
  path: 'pool init',
  summary: 'check that a pool is there (it needs no initialisation)',
  arguments: { pool: poolArgument },
  options: { force: switchOption('--force', 'accepted; a pool is of nobody else') },
  examples: ['farside pool init rbd'],
  async run({ args, context }) {
    const client = await context.client();
    await unframed(async () => {
      if (!(await client.listPools()).includes(args.pool))
        throw new FarsideError('ENOENT', `error opening pool '${args.pool}'`);
    });
  },
});
