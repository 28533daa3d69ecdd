// `mirror image demote`: makes the local copy non-primary, and read-only.

import { defineCommand } from '../command.ts';
import { imageArgument } from '../parse/parameters.ts';
import { framed } from '../output/wording.ts';

export const mirrorImageDemote = defineCommand({
  path: 'mirror image demote',
  summary: 'demote an image to non-primary',
  description: 'The first step of a planned switch: demote here, wait for the replica to catch up, promote there.',
  arguments: { image: imageArgument },
  options: {},
  examples: ['farside --cluster site-a mirror image demote vm-1'],
  async run({ args, context }) {
    const client = await context.client();
    await framed({ text: 'error demoting image to non-primary', errno: false }, () => client.demoteImage(args.image));
    context.output.line('Image demoted to non-primary');
  },
});
