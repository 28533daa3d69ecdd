// `snap create`: freezes an image's content under a name, in a constant number of requests.

import { defineCommand } from '../command.ts';
import { newSnapArgument } from '../parse/parameters.ts';
import { quiesceMode, quiesceOptions } from '../parse/quiescing.ts';
import { framed } from '../output/wording.ts';

export const snapCreate = defineCommand({
  path: 'snap create',
  aliases: ['add'],
  summary: 'create a snapshot',
  arguments: { snap: newSnapArgument },
  options: quiesceOptions,
  examples: ['farside snap create vm-1@before-upgrade', 'farside snap create -p backup --image vm-1 --snap monday'],
  async run({ args, options, context }) {
    const client = await context.client();
    await framed({ text: 'failed to create snapshot', errno: true, owns: 'ETIMEDOUT' }, () =>
      client.createSnapshot(args.snap, args.snap.snap, { quiesce: quiesceMode(options) }),
    );
  },
});
