// `mirror pool demote`: `mirror image demote` on every mirrored image of a pool or namespace.

import { defineCommand } from '../command.ts';
import { poolAndNamespaceArgument } from '../parse/parameters.ts';
import { changePoolRoles } from '../pool-roles.ts';

export const mirrorPoolDemote = defineCommand({
  path: 'mirror pool demote',
  summary: 'demote all primary images of a pool',
  description:
    'From then on they are read-only here, and another site can take over. Images that are not primary are skipped.',
  arguments: { pool: poolAndNamespaceArgument },
  options: {},
  examples: ['farside --cluster site-a mirror pool demote rbd', 'farside mirror pool demote rbd/tenant-1'],
  async run({ args, context }) {
    const client = await context.client();
    const changed = await changePoolRoles(context.output, 'demote', (after) => client.demotePool(args.pool, { after }));
    context.output.line(`Demoted ${changed.count} mirrored images`);
    changed.fail();
  },
});
