// `ls`: the images of a pool.

import { defineCommand } from '../command.ts';
import { poolAndNamespaceArgument, switchOption } from '../parameters.ts';
import { plainListedImages } from '../plain-image.ts';
import { framed } from '../wording.ts';

export const list = defineCommand({
  path: 'list',
  aliases: ['ls'],
  summary: 'list images',
  arguments: { pool: poolAndNamespaceArgument },
  options: { long: switchOption('-l, --long', 'sizes and snapshots too') },
  examples: ['farside ls', 'farside ls -l backup', 'farside ls backup --format json'],
  async run({ args, options, context }) {
    const client = await context.client();
    const images = await framed({ text: 'listing images failed', errno: true }, () => client.listImages(args.pool));
    if (options.long) return context.output.report({ value: images, plain: () => plainListedImages(images) });
    const names = images.filter((one) => one.snapshot === undefined).map((one) => one.image);
    context.output.report({ value: names, plain: () => names.map((name) => `${name}\n`).join('') });
  },
});
