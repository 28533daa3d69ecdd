// `config image list`: every option as it holds for an image.

import { defineReport } from '../command.ts';
import { imageArgument } from '../parse/parameters.ts';
import { plainImageOptions } from '../output/plain-image.ts';
import { framed } from '../output/wording.ts';
import { xmlShapes } from '../output/xml-shapes.ts';

export const configImageList = defineReport({
  path: 'config image list',
  aliases: ['ls'],
  summary: 'list the options of an image and where they come from',
  arguments: { image: imageArgument },
  options: {},
  xml: xmlShapes.config,
  examples: ['farside config image ls vm-1', 'farside config image ls vm-1 --format json'],
  async run({ args: { image }, context, report }) {
    const client = await context.client();
    const value = await framed({ text: 'failed to list config', errno: true }, () => client.config.ofImage(image));
    report({ value, plain: () => plainImageOptions(value) });
  },
});
