// `image-meta list`: all metadata of an image.

import { defineReport } from '../command.ts';
import { imageArgument } from '../parse/parameters.ts';
import { plainMeta } from '../output/plain-image.ts';
import { framed } from '../output/wording.ts';
import { xmlShapes } from '../output/xml-shapes.ts';

export const imageMetaList = defineReport({
  path: 'image-meta list',
  aliases: ['ls'],
  summary: 'list metadata keys with their values',
  arguments: { image: imageArgument },
  options: {},
  xml: xmlShapes.imageMeta,
  examples: ['farside image-meta list vm-1', 'farside image-meta ls vm-1 --format json'],
  async run({ args, context, report }) {
    const client = await context.client();
    const value = await framed({ text: 'listing metadata failed', errno: true }, () => client.listMeta(args.image));
    report({ value, plain: () => plainMeta(value) });
  },
});
