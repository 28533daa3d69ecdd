// `image-meta remove`: forgets a key.

import { defineCommand } from '../command.ts';
import { imageArgument, metaKeyArgument } from '../parse/parameters.ts';
import { framed, metaFrame } from '../output/wording.ts';

export const imageMetaRemove = defineCommand({
  path: 'image-meta remove',
  aliases: ['rm'],
  summary: 'remove a metadata key and its value',
  arguments: { image: imageArgument, key: metaKeyArgument },
  options: {},
  examples: ['farside image-meta remove vm-1 owner'],
  async run({ args: { image, key }, context }) {
    const client = await context.client();
    await framed(metaFrame('remove', key), () => client.removeMeta(image, key));
  },
});
