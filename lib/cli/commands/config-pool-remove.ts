// `config pool remove`: takes the override of a pool back.

import { defineCommand } from '../command.ts';
import { configKeyArgument, namedPoolArgument } from '../parse/parameters.ts';
import { framed } from '../output/wording.ts';

export const configPoolRemove = defineCommand({
  path: 'config pool remove',
  aliases: ['rm'],
  summary: "remove a pool's override of an option",
  arguments: { pool: namedPoolArgument, key: configKeyArgument('pool') },
  options: {},
  examples: ['farside config pool rm rbd rbd_mirroring_max_mirroring_snapshots'],
  async run({ args: { pool, key }, context }) {
    const client = await context.client();
    await framed({ text: `failed to remove ${key}`, errno: true }, () => client.config.remove({ pool }, key));
  },
});
