// `config pool set`: overrides an option for a pool.

import { defineCommand } from '../command.ts';
import { configKeyArgument, configValueArgument, namedPoolArgument } from '../parse/parameters.ts';
import { framed } from '../output/wording.ts';

export const configPoolSet = defineCommand({
  path: 'config pool set',
  summary: 'override an option for a pool',
  arguments: { pool: namedPoolArgument, key: configKeyArgument('pool'), value: configValueArgument },
  options: {},
  examples: ['farside config pool set rbd rbd_mirroring_max_mirroring_snapshots 8'],
  async run({ args: { pool, key, value }, context }) {
    const client = await context.client();
    await framed({ text: `failed to set ${key}`, errno: true }, () => client.config.set({ pool }, key, value));
  },
});
