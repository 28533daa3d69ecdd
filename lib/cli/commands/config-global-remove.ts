// `config global remove`: takes the override of the site back.

import { defineCommand } from '../command.ts';
import { configKeyArgument, configEntityArgument } from '../parse/parameters.ts';
import { framed } from '../output/wording.ts';

export const configGlobalRemove = defineCommand({
  path: 'config global remove',
  aliases: ['rm'],
  summary: "remove the site's override of an option",
  arguments: { entity: configEntityArgument, key: configKeyArgument('site') },
  options: {},
  examples: ['farside config global rm global rbd_mirroring_max_mirroring_snapshots'],
  async run({ args: { entity, key }, context }) {
    const client = await context.client();
    await framed({ text: `error removing ${key}`, errno: true }, () => client.config.remove({ section: entity }, key));
  },
});
