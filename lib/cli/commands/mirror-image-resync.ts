// `mirror image resync`: throws the local history away in favour of the primary's; the way out of split-brain.

import { defineCommand } from '../command.ts';
import { imageArgument } from '../parse/parameters.ts';
import { framed } from '../output/wording.ts';

export const mirrorImageResync = defineCommand({
  path: 'mirror image resync',
  summary: 'bring a replica back to what the primary holds',
  description:
    'Copies what differs since the last common snapshot, and keeps the history that loses as a snapshot, to be looked at and deleted.',
  arguments: { image: imageArgument },
  options: {},
  examples: ['farside --cluster site-b mirror image resync vm-1'],
  async run({ args, context }) {
    const client = await context.client();
    await framed({ text: 'error flagging image resync', errno: false }, () => client.resyncImage(args.image));
    context.output.line('Flagged image for resync from primary');
  },
});
