// `mirror image retention set`: which points in time this site keeps of an image that it receives.

import { defineCommand } from '../command.ts';
import { imageArgument, keepOption, requireKeep } from '../parse/parameters.ts';
import { unframed } from '../output/wording.ts';

export const mirrorImageRetentionSet = defineCommand({
  path: 'mirror image retention set',
  summary: 'set which mirror snapshots of an image are kept here',
  description:
    'Kept is the newest mirror snapshot of each of the last hours, days, weeks, months and years that have one. ' +
    'An image goes by its own policy before that of its pool, and by a new one at once.',
  arguments: { image: imageArgument },
  options: { keep: keepOption },
  examples: ['farside --cluster site-b mirror image retention set vm-1 --keep 24h,7d,4w,12m'],
  async run({ args, options, context }) {
    const keep = requireKeep(options.keep);
    const client = await context.client();
    await unframed(() => client.replicas.setImageRetention(args.image, keep));
  },
});
