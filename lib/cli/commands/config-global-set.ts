// `config global set`: overrides an option for the site.

import { defineCommand } from '../command.ts';
import { configKeyArgument, configValueArgument, configEntityArgument } from '../parse/parameters.ts';
import { framed } from '../output/wording.ts';

export const configGlobalSet = defineCommand({
  path: 'config global set',
  summary: 'override an option for the site',
  arguments: { entity: configEntityArgument, key: configKeyArgument('site'), value: configValueArgument },
  options: {},
  examples: ['farside config global set global rbd_mirroring_max_mirroring_snapshots 8'],
  async run({ args: { entity, key, value }, context }) {
    const client = await context.client();
    await framed({ text: `error setting ${key}`, errno: true }, () =>
      client.config.set({ section: entity }, key, value),
    );
  },
});
