// `collect`: garbage collection of one image, now.

import { defineReport } from '../command.ts';
import { imageArgument } from '../parse/parameters.ts';
import { framed } from '../output/wording.ts';
import { xmlShapes } from '../output/xml-shapes.ts';

export const collect = defineReport({
  path: 'collect',
  summary: 'remove data that nothing refers to any more',
  description:
    'A site does this by itself, from time to time; this starts it now, in the background. Nothing is removed that an image, a snapshot, an unfinished sync or a young upload can reach.',
  arguments: { image: imageArgument },
  options: {},
  xml: xmlShapes.collect,
  examples: ['farside collect vm-1', 'farside collect backup/vm-1 --format json'],
  async run({ args, context, report }) {
    const client = await context.client();
    const value = await framed({ text: 'collect error', errno: true }, () => client.collect(args.image));
    report({ value, plain: () => `Collection started: run ${value.run}\n` });
  },
});
