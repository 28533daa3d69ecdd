// `mirror pool info`: a pool's mode, identity and peers.

import { defineReport } from '../command.ts';
import { poolAndNamespaceArgument, switchOption } from '../parse/parameters.ts';
import { plainPoolInfo } from '../output/plain-mirror.ts';
import { unframed } from '../output/wording.ts';
import { xmlShapes } from '../output/xml-shapes.ts';

export const mirrorPoolInfo = defineReport({
  path: 'mirror pool info',
  summary: 'show how a pool is mirrored, and with whom',
  arguments: { pool: poolAndNamespaceArgument },
  options: { all: switchOption('--all', 'where the peers are and, for an admin, the keys shown to them, too') },
  xml: xmlShapes.poolInfo,
  examples: ['farside mirror pool info rbd', 'farside mirror pool info rbd --format json'],
  async run({ args, options, context, report }) {
    const client = await context.client();
    const value = await unframed(() => client.poolInfo(args.pool, options));
    report({ value, plain: () => plainPoolInfo(value, options) });
  },
});
