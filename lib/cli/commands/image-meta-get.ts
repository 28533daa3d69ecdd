// `image-meta get`: one value.

import { defineCommand } from '../command.ts';
import { imageArgument, metaKeyArgument } from '../parse/parameters.ts';
import { framed, metaFrame } from '../output/wording.ts';

export const imageMetaGet = defineCommand({
  path: 'image-meta get',
  summary: 'print the value of a metadata key',
  arguments: { image: imageArgument, key: metaKeyArgument },
  options: {},
  examples: ['farside image-meta get vm-1 owner'],
  async run({ args: { image, key }, context }) {
    const client = await context.client();
    context.output.line(await framed(metaFrame('get', key), () => client.getMeta(image, key)));
  },
});
