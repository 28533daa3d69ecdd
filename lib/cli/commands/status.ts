// `status`: who has an image open.

import { defineReport } from '../command.ts';
import { imageArgument } from '../parse/parameters.ts';
import { plainWatchers } from '../output/plain-image.ts';
import { framed } from '../output/wording.ts';
import { xmlShapes } from '../output/xml-shapes.ts';

export const status = defineReport({
  path: 'status',
  summary: 'show the status of this image',
  description:
    'A watcher is who has the image open for writing: an attached writer (nbd serve), or on a replica, mirroring. Those who import, export or copy hold nothing open.',
  arguments: { image: imageArgument },
  options: {},
  xml: xmlShapes.watchers,
  examples: ['farside status vm-1', 'farside status vm-1 --format json'],
  async run({ args, context, report }) {
    const client = await context.client();
    const value = await framed({ text: 'show status failed', errno: true }, () => client.locks.watchers(args.image));
    report({ value, plain: () => plainWatchers(value) });
  },
});
