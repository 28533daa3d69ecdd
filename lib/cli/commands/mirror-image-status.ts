// `mirror image status`: what mirroring does with an image, here and at its peers.

import { defineReport } from '../command.ts';
import { imageArgument } from '../parse/parameters.ts';
import { plainImageStatus } from '../output/plain-mirror.ts';
import { unframed } from '../output/wording.ts';
import { xmlShapes } from '../output/xml-shapes.ts';

export const mirrorImageStatus = defineReport({
  path: 'mirror image status',
  summary: "show the status of an image's mirroring",
  arguments: { image: imageArgument },
  options: {},
  xml: xmlShapes.imageStatus,
  examples: [
    'farside mirror image status vm-1',
    'farside --cluster site-b mirror image status backup/vm-1 --format json --pretty-format',
  ],
  async run({ args, context, report }) {
    const client = await context.client();
    const value = await unframed(() => client.imageStatus(args.image));
    report({ value, plain: () => plainImageStatus(value) });
  },
});
