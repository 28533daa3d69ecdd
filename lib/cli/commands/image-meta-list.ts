// `image-meta list`: all metadata of an image.

import { defineCommand } from '../command.ts';
import { imageArgument } from '../parameters.ts';
import { plainMeta } from '../plain-image.ts';
import { framed } from '../wording.ts';

export const imageMetaList = defineCommand({
  path: 'image-meta list',
  aliases: ['ls'],
  summary: 'list metadata keys with their values',
  arguments: { image: imageArgument },
  options: {},
  examples: ['farside image-meta list vm-1', 'farside image-meta ls vm-1 --format json'],
  async run({ args, context }) {
    const client = await context.client();
    const value = await framed({ text: 'listing metadata failed', errno: true }, () => client.listMeta(args.image));
    context.output.report({ value, plain: () => plainMeta(value) });
  },
});
