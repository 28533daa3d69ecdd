// `config global list`: the overrides of the site.

import { defineCommand } from '../command.ts';
import { configEntityArgument } from '../parameters.ts';
import { plainSiteOptions } from '../plain-image.ts';
import { framed } from '../wording.ts';

export const configGlobalList = defineCommand({
  path: 'config global list',
  aliases: ['ls'],
  summary: 'list what the site overrides',
  arguments: { entity: configEntityArgument },
  options: {},
  examples: ['farside config global ls global', 'farside config global ls global --format json'],
  async run({ args: { entity }, context }) {
    const client = await context.client();
    const value = await framed({ text: 'error reading config', errno: true }, () => client.listSiteConfig(entity));
    context.output.report({ value, plain: () => plainSiteOptions(value) });
  },
});
