// `config global list`: the overrides of the site.

import { defineReport } from '../command.ts';
import { configEntityArgument } from '../parse/parameters.ts';
import { plainSiteOptions } from '../output/plain-image.ts';
import { framed } from '../output/wording.ts';
import { xmlShapes } from '../output/xml-shapes.ts';

export const configGlobalList = defineReport({
  path: 'config global list',
  aliases: ['ls'],
  summary: 'list what the site overrides',
  arguments: { entity: configEntityArgument },
  options: {},
  xml: xmlShapes.config,
  examples: ['farside config global ls global', 'farside config global ls global --format json'],
  async run({ args: { entity }, context, report }) {
    const client = await context.client();
    const value = await framed({ text: 'error reading config', errno: true }, () => client.config.ofSite(entity));
    report({ value, plain: () => plainSiteOptions(value) });
  },
});
