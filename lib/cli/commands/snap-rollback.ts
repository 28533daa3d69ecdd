// `snap rollback`: the image becomes what the snapshot holds, in a constant number of requests.

import { defineCommand } from '../command.ts';
import { imageOrSnapArgument, snapIdOption, snapshotRefOf } from '../parse/parameters.ts';
import { framed } from '../output/wording.ts';

export const snapRollback = defineCommand({
  path: 'snap rollback',
  aliases: ['revert'],
  summary: 'roll an image back to a snapshot',
  description:
    'What was written since is lost, unless another snapshot holds it. --snap-id also names mirror snapshots: after a promotion, any point that retention kept.',
  arguments: { snap: imageOrSnapArgument },
  options: { snapId: snapIdOption },
  examples: ['farside snap rollback vm-1@before-upgrade', 'farside snap rollback vm-1 --snap-id 12'],
  async run({ args: { snap }, options, context }) {
    const to = snapshotRefOf(snap, options.snapId);
    const client = await context.client();
    await framed({ text: 'rollback failed', errno: true }, () => client.rollbackSnapshot(snap, to));
  },
});
