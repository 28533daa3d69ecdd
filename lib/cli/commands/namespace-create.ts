// `namespace create`: a part of a pool with image names of its own.

import { defineCommand } from '../command.ts';
import { namespaceArgument } from '../parse/parameters.ts';
import { framed } from '../output/wording.ts';

export const namespaceCreate = defineCommand({
  path: 'namespace create',
  summary: 'create a namespace in a pool',
  description: 'Images of one name may be in several namespaces, and each namespace is mirrored by itself.',
  arguments: { namespace: namespaceArgument },
  options: {},
  examples: ['farside namespace create rbd/tenant-1', 'farside namespace create --pool rbd --namespace tenant-1'],
  async run({ args, context }) {
    const client = await context.client();
    // rbd's words, to the letter.
    await framed({ text: 'failed to created namespace', errno: true }, () => client.createNamespace(args.namespace));
  },
});
