// `rename`: another name within the pool and namespace.

import { FarsideError } from '../../errors.ts';
import { defineCommand } from '../command.ts';
import { destinationArgument, destinationOptions } from '../parse/destinations.ts';
import { imageArgument } from '../parse/parameters.ts';
import { framed } from '../output/wording.ts';

export const rename = defineCommand({
  path: 'rename',
  aliases: ['mv'],
  summary: 'rename an image within its pool',
  arguments: { image: imageArgument, destination: destinationArgument('image') },
  options: destinationOptions,
  examples: ['farside rename vm-1 vm-1-old', 'farside mv backup/vm-1 backup/vm-2'],
  async run({ args: { image, destination }, context }) {
    const { image: name = '' } = destination;
    const pool = destination.pool ?? image.pool;
    const namespace = destination.namespace ?? (destination.pool === undefined ? image.namespace : '');
    if (pool !== image.pool || namespace !== image.namespace) {
      throw new FarsideError(
        'EINVAL',
        `mv/rename across pools not supported\nsource pool: ${image.pool} dest pool: ${pool}`,
      );
    }
    const client = await context.client();
    await framed({ text: 'rename error', errno: true, opensNothing: true }, () => client.renameImage(image, name));
  },
});
