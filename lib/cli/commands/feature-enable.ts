// `feature enable`: switches features of an image on.

import { defineCommand } from '../command.ts';
import { journalLayoutOptions } from '../parse/creation.ts';
import { featuresArgument, imageArgument } from '../parse/parameters.ts';
import { framed } from '../output/wording.ts';

export const featureEnable = defineCommand({
  path: 'feature enable',
  summary: 'enable features of an image',
  description:
    'object-map and fast-diff go together, and need exclusive-lock. Features follow a mirrored image to its replicas.',
  arguments: { image: imageArgument, features: featuresArgument },
  options: journalLayoutOptions,
  examples: ['farside feature enable vm-1 object-map fast-diff'],
  async run({ args: { image, features }, context }) {
    const client = await context.client();
    await framed({ text: 'failed to update image features', errno: true }, () =>
      client.updateFeatures(image, { enable: features }),
    );
  },
});
