// `mirror pool disable`: possible when no peer and no mirrored image is left.

import { defineCommand } from '../command.ts';
import { poolAndNamespaceArgument } from '../parse/parameters.ts';
import { unframed } from '../output/wording.ts';

export const mirrorPoolDisable = defineCommand({
  path: 'mirror pool disable',
  summary: 'disable mirroring of a pool',
  description:
    "Remove its peers and disable its images first ('farside mirror pool peer remove', 'farside mirror image disable').",
  arguments: { pool: poolAndNamespaceArgument },
  options: {},
  examples: ['farside mirror pool disable rbd'],
  async run({ args, context }) {
    const client = await context.client();
    const { outcome } = await unframed(() => client.disablePool(args.pool));
    if (outcome === 'unchanged') context.output.line('farside: mirroring is already disabled');
  },
});
