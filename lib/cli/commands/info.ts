// `info`: what an image (or snapshot) is.

import { defineReport } from '../command.ts';
import { imageOrSnapArgument, insteadOfSpec } from '../parse/parameters.ts';
import { plainInfo } from '../output/plain-image.ts';
import { framed, snapshotContextFrame } from '../output/wording.ts';
import { xmlShapes } from '../output/xml-shapes.ts';

export const info = defineReport({
  path: 'info',
  summary: 'show information about an image or snapshot',
  arguments: { image: imageOrSnapArgument },
  options: insteadOfSpec,
  xml: xmlShapes.info,
  examples: ['farside info vm-1', 'farside info backup/vm-1@before --format json --pretty-format'],
  async run({ args, context, report }) {
    const client = await context.client();
    const value = await framed(snapshotContextFrame('info'), () => client.imageInfo(args.image));
    report({ value, plain: () => plainInfo(value) });
  },
});
