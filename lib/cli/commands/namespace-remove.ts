// `namespace rm`: removes a namespace that has no images.

import { defineCommand } from '../command.ts';
import { namespaceArgument } from '../parse/parameters.ts';
import { unframed } from '../output/wording.ts';

export const namespaceRemove = defineCommand({
  path: 'namespace remove',
  aliases: ['rm'],
  summary: 'remove an empty namespace from a pool',
  arguments: { namespace: namespaceArgument },
  options: {},
  examples: ['farside namespace rm rbd/tenant-1'],
  async run({ args, context }) {
    const client = await context.client();
    await unframed(() => client.removeNamespace(args.namespace));
  },
});
