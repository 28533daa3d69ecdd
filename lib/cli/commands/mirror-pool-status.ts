// `mirror pool status`: the health of a pool's mirroring.

import { defineReport } from '../command.ts';
import { poolAndNamespaceArgument, switchOption } from '../parameters.ts';
import { plainPoolStatus } from '../plain-mirror.ts';
import { unframed } from '../wording.ts';
import { xmlShapes } from '../xml-shapes.ts';

export const mirrorPoolStatus = defineReport({
  path: 'mirror pool status',
  summary: "show the status of a pool's mirroring",
  arguments: { pool: poolAndNamespaceArgument },
  options: { verbose: switchOption('--verbose', 'every image, and who mirrors them') },
  xml: xmlShapes.poolStatus,
  examples: ['farside mirror pool status rbd', 'farside mirror pool status rbd --verbose --format json'],
  async run({ args, options, context, report }) {
    const client = await context.client();
    const value = await unframed(() => client.poolStatus(args.pool, options));
    report({ value, plain: () => plainPoolStatus(value) });
  },
});
