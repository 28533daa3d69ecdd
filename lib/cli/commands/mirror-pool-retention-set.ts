// `mirror pool retention set`: which points in time this site keeps of a pool's images that it receives.

import { defineCommand } from '../command.ts';
import { poolArgument, keepOption, requireKeep } from '../parse/parameters.ts';
import { unframed } from '../output/wording.ts';

export const mirrorPoolRetentionSet = defineCommand({
  path: 'mirror pool retention set',
  summary: "set which mirror snapshots of a pool's images are kept here",
  description:
    'Kept is the newest mirror snapshot of each of the last hours, days, weeks, months and years that have one. ' +
    'It acts with the next mirror snapshot that each image receives; an image may have a policy of its own.',
  arguments: { pool: poolArgument },
  options: { keep: keepOption },
  examples: ['farside --cluster site-b mirror pool retention set rbd --keep 24h,7d,4w,12m'],
  async run({ args, options, context }) {
    const keep = requireKeep(options.keep);
    const client = await context.client();
    await unframed(() => client.replicas.setPoolRetention(args.pool, keep));
  },
});
