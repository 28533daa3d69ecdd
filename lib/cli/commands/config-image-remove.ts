// `config image remove`: takes the override of an image back.

import { metaPrefix } from '../../image/options.ts';
import { defineCommand } from '../command.ts';
import { configKeyArgument, imageArgument } from '../parse/parameters.ts';
import { framed } from '../output/wording.ts';

export const configImageRemove = defineCommand({
  path: 'config image remove',
  aliases: ['rm'],
  summary: "remove an image's override of an option",
  arguments: { image: imageArgument, key: configKeyArgument('image') },
  options: {},
  examples: ['farside config image rm vm-1 rbd_mirroring_max_mirroring_snapshots'],
  async run({ args: { image, key }, context }) {
    const client = await context.client();
    await framed({ text: `failed to remove ${key}`, errno: true }, () => client.removeMeta(image, metaPrefix + key));
  },
});
