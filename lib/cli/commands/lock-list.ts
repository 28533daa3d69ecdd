// `lock ls`: who holds locks of an image.

import { defineReport } from '../command.ts';
import { imageArgument } from '../parse/parameters.ts';
import { plainLocks } from '../output/plain-image.ts';
import { framed } from '../output/wording.ts';
import { xmlShapes } from '../output/xml-shapes.ts';

export const lockList = defineReport({
  path: 'lock list',
  aliases: ['ls'],
  summary: 'show locks held on an image',
  description: 'A lock whose id begins with auto is that of whoever has the image open for writing.',
  arguments: { image: imageArgument },
  options: {},
  xml: xmlShapes.locks,
  examples: ['farside lock ls vm-1', 'farside lock ls vm-1 --format json --pretty-format'],
  async run({ args, context, report }) {
    const client = await context.client();
    const locks = await framed({ text: 'listing locks failed', errno: true }, () => client.locks.list(args.image));
    report({ value: locks.lockers, plain: () => plainLocks(locks) });
  },
});
