// `mirror image disable`: the image is an ordinary one again; its replicas go.

import { defineCommand } from '../command.ts';
import { imageArgument, switchOption } from '../parse/parameters.ts';
import { unframed } from '../output/wording.ts';

export const mirrorImageDisable = defineCommand({
  path: 'mirror image disable',
  summary: 'disable mirroring of an image',
  description: 'On the primary this removes the replicas. On a replica, --force keeps the copy as an ordinary image.',
  arguments: { image: imageArgument },
  options: { force: switchOption('--force', 'disable even if not primary') },
  examples: ['farside mirror image disable vm-1', 'farside --cluster site-b mirror image disable --force vm-1'],
  async run({ args, options, context }) {
    const client = await context.client();
    await unframed(() => client.disableImage(args.image, options));
    context.output.line('Mirroring disabled');
  },
});
