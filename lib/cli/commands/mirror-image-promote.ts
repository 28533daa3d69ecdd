// `mirror image promote`: makes the local copy primary, and writable.

import { defineCommand } from '../command.ts';
import { imageArgument, switchOption } from '../parse/parameters.ts';
import { framed } from '../output/wording.ts';

export const mirrorImagePromote = defineCommand({
  path: 'mirror image promote',
  summary: 'promote an image to primary',
  description:
    'Demote it at the other site first. --force is for when that site is lost: both copies are primary then, and one has to be resynced later.',
  arguments: { image: imageArgument },
  options: { force: switchOption('--force', 'promote even if the remote copy was not cleanly demoted') },
  examples: [
    'farside --cluster site-b mirror image promote vm-1',
    'farside --cluster site-b mirror image promote --force backup/vm-1',
  ],
  async run({ args, options, context }) {
    const client = await context.client();
    await framed({ text: 'error promoting image to primary', errno: false }, () =>
      client.promoteImage(args.image, options),
    );
    context.output.line('Image promoted to primary');
  },
});
