// `config global get`: what the site itself overrides an option with.

import { defineCommand } from '../command.ts';
import { configKeyArgument, configEntityArgument } from '../parse/parameters.ts';
import { configGetFrame, framed } from '../output/wording.ts';

export const configGlobalGet = defineCommand({
  path: 'config global get',
  summary: "print the site's override of an option",
  arguments: { entity: configEntityArgument, key: configKeyArgument('site') },
  options: {},
  examples: ['farside config global get global rbd_mirroring_max_mirroring_snapshots'],
  async run({ args: { entity, key }, context }) {
    const client = await context.client();
    context.output.line(await framed(configGetFrame(key), () => client.config.get({ section: entity }, key)));
  },
});
