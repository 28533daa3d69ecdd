// `image-meta set`: one key and its value.

import { defineCommand } from '../command.ts';
import { imageArgument, metaKeyArgument, textArgument } from '../parse/parameters.ts';
import { framed, metaFrame } from '../output/wording.ts';

export const imageMetaSet = defineCommand({
  path: 'image-meta set',
  summary: 'set a metadata key to a value',
  description: 'Metadata follows a mirrored image to its replicas.',
  arguments: {
    image: imageArgument,
    key: metaKeyArgument,
    value: textArgument('value', 'metadata value', 'metadata value was not specified'),
  },
  options: {},
  examples: ['farside image-meta set vm-1 owner storage-team'],
  async run({ args: { image, key, value }, context }) {
    const client = await context.client();
    await framed(metaFrame('set', key), () => client.setMeta(image, key, value));
  },
});
