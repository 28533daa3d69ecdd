// `info`: what an image (or snapshot) is.

import { defineCommand } from '../command.ts';
import { imageOrSnapArgument } from '../parameters.ts';
import { plainInfo } from '../plain-image.ts';
import { framed, snapshotContextFrame } from '../wording.ts';

export const info = defineCommand({
  path: 'info',
  summary: 'show information about an image or snapshot',
  arguments: { image: imageOrSnapArgument },
  options: {},
  examples: ['farside info vm-1', 'farside info backup/vm-1@before --format json --pretty-format'],
  async run({ args, context }) {
    const client = await context.client();
    const value = await framed(snapshotContextFrame('info'), () => client.imageInfo(args.image));
    context.output.report({ value, plain: () => plainInfo(value) });
  },
});
