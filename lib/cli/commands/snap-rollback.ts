// `snap rollback`: the image becomes what the snapshot holds, in a constant number of requests.

import { defineCommand } from '../command.ts';
import { snapArgument } from '../parameters.ts';
import { framed } from '../wording.ts';

export const snapRollback = defineCommand({
  path: 'snap rollback',
  aliases: ['revert'],
  summary: 'roll an image back to a snapshot',
  description: 'What was written since is lost, unless another snapshot holds it.',
  arguments: { snap: snapArgument },
  options: {},
  examples: ['farside snap rollback vm-1@before-upgrade'],
  async run({ args: { snap }, context }) {
    const client = await context.client();
    await framed({ text: 'rollback failed', errno: true }, () => client.rollbackSnapshot(snap, snap.snap));
  },
});
