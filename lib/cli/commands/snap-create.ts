// `snap create`: freezes an image's content under a name, in a constant number of requests.

import { defineCommand } from '../command.ts';
import { snapArgument, switchOption } from '../parameters.ts';
import { framed } from '../wording.ts';

export const snapCreate = defineCommand({
  path: 'snap create',
  aliases: ['add'],
  summary: 'create a snapshot',
  arguments: { snap: snapArgument },
  options: {
    skipQuiesce: switchOption('--skip-quiesce', 'do not run quiesce hooks (there are none: accepted for scripts)'),
    ignoreQuiesceError: switchOption('--ignore-quiesce-error', 'ignore quiesce hook errors (accepted for scripts)'),
  },
  examples: ['farside snap create vm-1@before-upgrade', 'farside snap create -p backup --image vm-1 --snap monday'],
  async run({ args, context }) {
    const client = await context.client();
    await framed({ text: 'failed to create snapshot', errno: true }, () =>
      client.createSnapshot(args.snap, args.snap.snap),
    );
  },
});
