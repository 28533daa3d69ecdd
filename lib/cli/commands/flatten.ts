// `flatten`: copies into a clone what it has from its parent. The site does it, step by step; the command asks for the next.

import { defineCommand } from '../command.ts';
import { imageArgument } from '../parse/parameters.ts';
import { startProgress } from '../output/progress.ts';
import { untilDone } from '../client/until-done.ts';
import { framed } from '../output/wording.ts';

const frame = { text: 'flatten error', errno: true };

export const flatten = defineCommand({
  path: 'flatten',
  summary: 'fill a clone with its parent’s data (make it independent)',
  description:
    'Snapshots of the clone become independent too. An interrupted flatten goes on where it was when it is run again.',
  arguments: { image: imageArgument },
  options: {},
  examples: ['farside flatten vm-2'],
  async run({ args: { image }, context }) {
    const client = await context.client();
    const { size: totalBytes } = await framed(frame, () => client.imageInfo(image));
    const progress = startProgress(context.terminal, context.general, { title: 'Image flatten', totalBytes });
    try {
      await framed(frame, () => untilDone(progress, () => client.clones.flatten(image)));
    } finally {
      progress.stop();
    }
  },
});
