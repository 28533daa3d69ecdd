// `mirror image retention get`: the policy, where it comes from, and the points that are kept.

import { defineReport } from '../command.ts';
import { imageArgument } from '../parse/parameters.ts';
import { plainImageRetention } from '../output/plain-mirror.ts';
import { unframed } from '../output/wording.ts';
import { xmlShapes } from '../output/xml-shapes.ts';

export const mirrorImageRetentionGet = defineReport({
  path: 'mirror image retention get',
  summary: 'show which mirror snapshots of an image are kept here',
  arguments: { image: imageArgument },
  options: {},
  xml: xmlShapes.retention,
  examples: ['farside --cluster site-b mirror image retention get vm-1'],
  async run({ args, context, report }) {
    const client = await context.client();
    const value = await unframed(() => client.replicas.imageRetention(args.image));
    report({ value, plain: () => plainImageRetention(value) });
  },
});
