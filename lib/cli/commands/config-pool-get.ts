// `config pool get`: what a pool itself overrides an option with.

import { defineCommand } from '../command.ts';
import { configKeyArgument, namedPoolArgument } from '../parse/parameters.ts';
import { configGetFrame, framed } from '../output/wording.ts';

export const configPoolGet = defineCommand({
  path: 'config pool get',
  summary: "print a pool's override of an option",
  arguments: { pool: namedPoolArgument, key: configKeyArgument('pool') },
  options: {},
  examples: ['farside config pool get rbd rbd_mirroring_max_mirroring_snapshots'],
  async run({ args: { pool, key }, context }) {
    const client = await context.client();
    context.output.line(await framed(configGetFrame(key), () => client.config.get({ pool }, key)));
  },
});
