// `create`: a new, empty image. Takes a handful of requests whatever its size.

import { FarsideError } from '../../errors.ts';
import { objectBytesDefault } from '../../image/header.ts';
import { defineCommand } from '../command.ts';
import { formatBytes, parseSizeBytes } from '../grammar.ts';
import { imageArgument, objectSizeOption, parsedOption } from '../parameters.ts';
import { framed } from '../wording.ts';

export const create = defineCommand({
  path: 'create',
  summary: 'create an empty image',
  description: `The object size is ${formatBytes(objectBytesDefault)} unless --object-size says otherwise. Space that was never written costs nothing.`,
  arguments: { image: imageArgument },
  options: {
    size: parsedOption('-s, --size <size>', 'image size (in M/G/T) [default: M]', parseSizeBytes),
    objectSize: objectSizeOption,
  },
  examples: ['farside create vm-1 --size 10G', 'farside create backup/vm-1 --size 1T --object-size 8M'],
  async run({ args, options, context }) {
    const { size: sizeBytes, objectSize: objectBytes } = options;
    if (sizeBytes === undefined) throw new FarsideError('EINVAL', 'must specify --size <M/G/T>');
    const client = await context.client();
    const creation = { sizeBytes, ...(objectBytes === undefined ? {} : { objectBytes }) };
    await framed({ text: 'create error', errno: true }, () => client.createImage(args.image, creation));
  },
});
