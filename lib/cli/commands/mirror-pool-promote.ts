// `mirror pool promote`: `mirror image promote` on every mirrored image of a pool or namespace.

import { defineCommand } from '../command.ts';
import { poolAndNamespaceArgument, switchOption } from '../parse/parameters.ts';
import { changePoolRoles } from '../pool-roles.ts';

export const mirrorPoolPromote = defineCommand({
  path: 'mirror pool promote',
  summary: 'promote all non-primary images of a pool',
  description:
    "Demote the pool at the other site first ('farside mirror pool demote'). Images that are primary already are skipped.",
  arguments: { pool: poolAndNamespaceArgument },
  options: { force: switchOption('--force', 'promote even images whose remote copies were not cleanly demoted') },
  examples: [
    'farside --cluster site-b mirror pool promote rbd',
    'farside --cluster site-b mirror pool promote --force rbd/tenant-1',
  ],
  async run({ args, options, context }) {
    const client = await context.client();
    const changed = await changePoolRoles(context.output, 'promote', (after) =>
      client.promotePool(args.pool, { ...options, after }),
    );
    context.output.line(`Promoted ${changed.count} mirrored images`);
    changed.fail();
  },
});
