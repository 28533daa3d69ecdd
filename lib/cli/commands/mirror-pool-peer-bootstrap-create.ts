// `mirror pool peer bootstrap create`: the token with which another site introduces itself. The token is a secret.

import { defineCommand } from '../command.ts';
import { poolArgument, textOption } from '../parse/parameters.ts';
import { framed } from '../output/wording.ts';

export const mirrorPoolPeerBootstrapCreate = defineCommand({
  path: 'mirror pool peer bootstrap create',
  summary: 'create a bootstrap token for a peer site',
  description:
    "Mirroring must be enabled on the pool. Hand the token to the other site's operator over a safe channel: it is a secret.",
  arguments: { pool: poolArgument },
  options: { siteName: textOption('--site-name <name>', 'name by which peers know this site') },
  examples: ['farside --cluster site-a mirror pool peer bootstrap create rbd > token'],
  async run({ args, options, context }) {
    const client = await context.client();
    const frame = { text: 'failed to create peer bootstrap token', errno: false };
    const siteName = options.siteName === undefined ? {} : { siteName: options.siteName };
    context.output.line(await framed(frame, () => client.createBootstrapToken(args.pool, siteName)));
  },
});
