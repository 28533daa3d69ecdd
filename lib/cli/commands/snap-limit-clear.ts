// `snap limit clear`: takes the limit of snapshots away.

import { defineCommand } from '../command.ts';
import { imageArgument } from '../parse/parameters.ts';
import { framed } from '../output/wording.ts';

export const snapLimitClear = defineCommand({
  path: 'snap limit clear',
  summary: 'remove snapshot limit',
  arguments: { image: imageArgument },
  options: {},
  examples: ['farside snap limit clear vm-1'],
  async run({ args, context }) {
    const client = await context.client();
    await framed({ text: 'removing snapshot limit failed', errno: true }, () => client.clearSnapshotLimit(args.image));
  },
});
