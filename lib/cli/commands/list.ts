// `ls`: the images of a pool.

import { defineReport } from '../command.ts';
import { poolAndNamespaceArgument, switchOption } from '../parse/parameters.ts';
import { plainListedImages } from '../output/plain-image.ts';
import { framed } from '../output/wording.ts';
import { xmlShapes } from '../output/xml-shapes.ts';

export const list = defineReport({
  path: 'list',
  aliases: ['ls'],
  summary: 'list images',
  arguments: { pool: poolAndNamespaceArgument },
  options: { long: switchOption('-l, --long', 'sizes and snapshots too') },
  xml: xmlShapes.images,
  examples: ['farside ls', 'farside ls -l backup', 'farside ls backup --format json'],
  async run({ args, options, context, report }) {
    const client = await context.client();
    const images = await framed({ text: 'listing images failed', errno: true }, () => client.listImages(args.pool));
    if (options.long) return report({ value: images, plain: () => plainListedImages(images) });
    const names = images.filter((one) => one.snapshot === undefined).map((one) => one.image);
    report({ value: names, plain: () => names.map((name) => `${name}\n`).join('') });
  },
});
