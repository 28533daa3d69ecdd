// `flatten`: copies into a clone what it has from its parent. The site does it, step by step; the command asks for the next.

import { FarsideError } from '../../errors.ts';
import { defineCommand } from '../command.ts';
import { imageArgument } from '../parameters.ts';
import { startProgress } from '../progress.ts';
import { framed } from '../wording.ts';

/** Steps that found something in their way, one after another, before the command gives up. */
const standstillsMax = 20;

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
    const { size: totalBytes } = await client.imageInfo(image);
    const progress = startProgress(context.terminal, context.general, { title: 'Image flatten', totalBytes });
    try {
      await framed({ text: 'flatten error', errno: true }, async () => {
        for (let before = -1, standstills = 0; ;) {
          const { done, fromOffset } = await client.flattenImage(image);
          progress.update(fromOffset);
          if (done) return;
          standstills = fromOffset > before ? 0 : standstills + 1;
          before = fromOffset;
          if (standstills > standstillsMax)
            throw new FarsideError('EAGAIN', 'the image keeps changing; run the same command again', {
              retry: 'later',
            });
        }
      });
    } finally {
      progress.stop();
    }
  },
});
