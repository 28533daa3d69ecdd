// `queue purge`: forgets messages that were given up.

import { defineCommand } from '../command.ts';
import { failureIdArgument } from '../parse/parameters.ts';
import { unframed } from '../output/wording.ts';

export const queuePurge = defineCommand({
  path: 'queue purge',
  summary: 'forget messages that were given up: one, or all',
  arguments: { id: failureIdArgument },
  options: {},
  examples: ['farside queue purge', 'farside queue purge 4c1f7bd0e6a94d1b8a7f30a95f1f0e1c'],
  async run({ args, context }) {
    const client = await context.client();
    await unframed(() => client.purgeFailures(args.id));
  },
});
