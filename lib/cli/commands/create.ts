// `create`: a new, empty image. Takes a handful of requests whatever its size.

import { FarsideError } from '../../errors.ts';
import { defineCommand } from '../command.ts';
import { askedCreation, creationOptions, imageFormatOptions, mirrorNew } from '../parse/creation.ts';
import { parseSizeBytes } from '../parse/grammar.ts';
import { newImageArgument, parsedOption, switchOption } from '../parse/parameters.ts';
import { framed } from '../output/wording.ts';

export const create = defineCommand({
  path: 'create',
  summary: 'create an empty image',
  description:
    'What is left out, options of the pool decide (`config pool ls`). Space that was never written costs nothing.',
  arguments: { image: newImageArgument },
  options: {
    size: parsedOption('-s, --size <size>', 'image size (in M/G/T) [default: M]', parseSizeBytes),
    ...creationOptions,
    ...imageFormatOptions,
    thick: switchOption('--thick-provision', 'not in farside: a bucket has no space to reserve'),
  },
  examples: [
    'farside create vm-1 --size 10G',
    'farside create backup/vm-1 --size 1T --object-size 8M --image-feature layering,exclusive-lock',
  ],
  async run({ args, options, context }) {
    const { size: sizeBytes } = options;
    if (sizeBytes === undefined) throw new FarsideError('EINVAL', 'must specify --size <M/G/T>');
    if (options.thick)
      throw new FarsideError(
        'EOPNOTSUPP',
        '--thick-provision is not in farside: a bucket has no space to reserve, and zeros are not stored',
      );
    const client = await context.client();
    const creation = { sizeBytes, ...askedCreation(options) };
    await framed({ text: 'create error', errno: true }, () => client.createImage(args.image, creation));
    await mirrorNew(context, args.image, options.mirrorMode);
  },
});
