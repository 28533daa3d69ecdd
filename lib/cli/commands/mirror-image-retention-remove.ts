// `mirror image retention rm`: the policy of the pool counts again.

import { defineCommand } from '../command.ts';
import { imageArgument } from '../parse/parameters.ts';
import { unframed } from '../output/wording.ts';

export const mirrorImageRetentionRemove = defineCommand({
  path: 'mirror image retention remove',
  aliases: ['rm'],
  summary: 'take back the retention policy of an image',
  arguments: { image: imageArgument },
  options: {},
  examples: ['farside --cluster site-b mirror image retention rm vm-1'],
  async run({ args, context }) {
    const client = await context.client();
    await unframed(() => client.replicas.removeImageRetention(args.image));
  },
});
