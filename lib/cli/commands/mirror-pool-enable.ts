// `mirror pool enable`: lets images of a pool be mirrored.

import { FarsideError } from '../../errors.ts';
import type { MirrorMode } from '../client/client.ts';
import { defineCommand } from '../command.ts';
import { optionalTextArgument, poolAndNamespaceArgument, textOption } from '../parse/parameters.ts';
import { unframed } from '../output/wording.ts';

const modes: readonly MirrorMode[] = ['image', 'pool', 'init-only'];

export const mirrorPoolEnable = defineCommand({
  path: 'mirror pool enable',
  summary: 'enable mirroring of a pool',
  description:
    "Mode 'image': images are enabled one by one. Mode 'pool': every image with journaling is mirrored. Mode 'init-only': the pool may have peers and mirrored namespaces, and mirrors nothing itself. Each namespace has its own mode; its images go to the peers' namespace of the same name, or to --remote-namespace ('' is the default one), which must point back here.",
  arguments: { pool: poolAndNamespaceArgument, mode: optionalTextArgument('mode', `mirror mode [${modes.join('|')}]`) },
  options: {
    siteName: textOption('--site-name <name>', 'name by which peers know this site (default: its own)'),
    remoteNamespace: textOption('--remote-namespace <namespace>', "namespace at the peers (default: this one's name)"),
  },
  examples: [
    'farside mirror pool enable rbd image',
    'farside --cluster site-b mirror pool enable --site-name site-b backup image',
    'farside mirror pool enable --remote-namespace tenant-1-copy rbd/tenant-1 image',
  ],
  async run({ args, options, context }) {
    const mode = modes.find((one) => one === args.mode);
    if (mode === undefined) throw new FarsideError('EINVAL', "must specify 'image' or 'pool' mode.");
    const client = await context.client();
    const { outcome, from } = await unframed(() => client.enablePool(args.pool, { mode, ...options }));
    if (outcome === 'switched' && from !== 'init-only' && mode !== 'init-only')
      context.output.line(`note: changing mirroring mode from ${from} to ${mode}`);
    if (outcome === 'unchanged' && options.siteName === undefined)
      context.output.line(`farside: mirroring is already configured for ${mode} mode`);
  },
});
