// `mirror pool info`: a pool's mode, identity and peers.

import { defineCommand } from '../command.ts';
import { poolAndNamespaceArgument, switchOption } from '../parameters.ts';
import { plainPoolInfo } from '../plain-mirror.ts';
import { unframed } from '../wording.ts';

export const mirrorPoolInfo = defineCommand({
  path: 'mirror pool info',
  summary: 'show how a pool is mirrored, and with whom',
  arguments: { pool: poolAndNamespaceArgument },
  options: { all: switchOption('--all', 'where the peers are, too') },
  examples: ['farside mirror pool info rbd', 'farside mirror pool info rbd --format json'],
  async run({ args, options, context }) {
    const client = await context.client();
    const value = await unframed(() => client.poolInfo(args.pool, options));
    context.output.report({ value, plain: () => plainPoolInfo(value) });
  },
});
