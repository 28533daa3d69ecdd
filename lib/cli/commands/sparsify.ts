// `sparsify`: for scripts written for rbd. Zeros are never stored.

import { FarsideError } from '../../errors.ts';
import { defineCommand } from '../command.ts';
import { imageArgument, sparseSizeOption } from '../parse/parameters.ts';
import { framed } from '../output/wording.ts';

export const sparsify = defineCommand({
  path: 'sparsify',
  summary: 'reclaim space for zeroed image extents (there is none to reclaim)',
  description:
    'Zeros become holes when they are written, so nothing is left to do but to say whether the image could be written to.',
  arguments: { image: imageArgument },
  options: { sparseSize: sparseSizeOption },
  examples: ['farside sparsify vm-1'],
  async run({ args, context }) {
    const client = await context.client();
    await framed({ text: 'sparsify failed', errno: true }, async () => {
      const { features } = await client.imageInfo(args.image);
      if (features.includes('non-primary'))
        throw new FarsideError(
          'EROFS',
          `image ${args.image.image} is non-primary: it is read-only until it is promoted`,
        );
    });
  },
});
