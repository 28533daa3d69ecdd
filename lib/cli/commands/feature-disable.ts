// `feature disable`: switches features of an image off.

import { defineCommand } from '../command.ts';
import { featuresArgument, imageArgument } from '../parse/parameters.ts';
import { framed } from '../output/wording.ts';

export const featureDisable = defineCommand({
  path: 'feature disable',
  summary: 'disable features of an image',
  description: 'object-map and fast-diff go together; exclusive-lock goes after them.',
  arguments: { image: imageArgument, features: featuresArgument },
  options: {},
  examples: ['farside feature disable vm-1 object-map fast-diff'],
  async run({ args: { image, features }, context }) {
    const client = await context.client();
    await framed({ text: 'failed to update image features', errno: true }, () =>
      client.updateFeatures(image, { disable: features }),
    );
  },
});
