// `config image set`: overrides an option for an image.

import { metaPrefix } from '../../image/options.ts';
import { defineCommand } from '../command.ts';
import { configKeyArgument, configValueArgument, imageArgument } from '../parse/parameters.ts';
import { framed } from '../output/wording.ts';

export const configImageSet = defineCommand({
  path: 'config image set',
  summary: 'override an option for an image',
  arguments: { image: imageArgument, key: configKeyArgument('image'), value: configValueArgument },
  options: {},
  examples: ['farside config image set vm-1 rbd_mirroring_max_mirroring_snapshots 8'],
  async run({ args: { image, key, value }, context }) {
    const client = await context.client();
    await framed({ text: `failed to set ${key}`, errno: true }, () => client.setMeta(image, metaPrefix + key, value));
  },
});
