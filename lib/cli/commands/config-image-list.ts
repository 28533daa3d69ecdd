// `config image list`: every option as it holds for an image.

import { defineCommand } from '../command.ts';
import { imageArgument } from '../parameters.ts';
import { plainImageOptions } from '../plain-image.ts';
import { framed } from '../wording.ts';

export const configImageList = defineCommand({
  path: 'config image list',
  aliases: ['ls'],
  summary: 'list the options of an image and where they come from',
  arguments: { image: imageArgument },
  options: {},
  examples: ['farside config image ls vm-1', 'farside config image ls vm-1 --format json'],
  async run({ args: { image }, context }) {
    const client = await context.client();
    const value = await framed({ text: 'failed to list config', errno: true }, () => client.listConfig(image));
    context.output.report({ value, plain: () => plainImageOptions(value) });
  },
});
