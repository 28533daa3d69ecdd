// `resize`: grows an image, or shrinks it when told so.

import { FarsideError } from '../../errors.ts';
import { defineCommand } from '../command.ts';
import { parseSizeBytes } from '../parse/grammar.ts';
import { imageArgument, parsedOption, switchOption } from '../parse/parameters.ts';
import { framed } from '../output/wording.ts';

const shrinkText = 'shrinking an image is only allowed with the --allow-shrink flag';

export const resize = defineCommand({
  path: 'resize',
  summary: 'resize (expand or shrink) an image',
  description: 'What is cut off by shrinking is lost, except for what snapshots hold.',
  arguments: { image: imageArgument },
  options: {
    size: parsedOption('-s, --size <size>', 'image size (in M/G/T) [default: M]', parseSizeBytes),
    allowShrink: switchOption('--allow-shrink', 'permit shrinking'),
  },
  examples: ['farside resize vm-1 --size 20G', 'farside resize vm-1 --size 5G --allow-shrink'],
  async run({ args, options, context }) {
    const { size: sizeBytes, allowShrink } = options;
    if (sizeBytes === undefined) throw new FarsideError('EINVAL', 'must specify --size <M/G/T>');
    const client = await context.client();
    const info = await client.imageInfo(args.image);
    if (info.size === sizeBytes) throw new FarsideError('EINVAL', 'new size is equal to original size ');
    if (info.size > sizeBytes && !allowShrink) throw new FarsideError('EINVAL', shrinkText);
    await framed({ text: 'resize error', errno: true }, () =>
      client.resizeImage(args.image, { sizeBytes, allowShrink }),
    );
  },
});
