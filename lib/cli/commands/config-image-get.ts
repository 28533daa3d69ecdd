// `config image get`: what an image itself overrides an option with.

import { metaPrefix } from '../../image/options.ts';
import { defineCommand } from '../command.ts';
import { configKeyArgument, imageArgument } from '../parse/parameters.ts';
import { configGetFrame, framed } from '../output/wording.ts';

export const configImageGet = defineCommand({
  path: 'config image get',
  summary: "print an image's override of an option",
  arguments: { image: imageArgument, key: configKeyArgument('image') },
  options: {},
  examples: ['farside config image get vm-1 rbd_mirroring_max_mirroring_snapshots'],
  async run({ args: { image, key }, context }) {
    const client = await context.client();
    context.output.line(await framed(configGetFrame(key), () => client.getMeta(image, metaPrefix + key)));
  },
});
