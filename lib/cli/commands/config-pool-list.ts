// `config pool list`: every option as it holds for a pool.

import { defineReport } from '../command.ts';
import { namedPoolArgument } from '../parse/parameters.ts';
import { plainOptions } from '../output/plain-image.ts';
import { framed } from '../output/wording.ts';
import { xmlShapes } from '../output/xml-shapes.ts';

export const configPoolList = defineReport({
  path: 'config pool list',
  aliases: ['ls'],
  summary: 'list the options of a pool and where they come from',
  arguments: { pool: namedPoolArgument },
  options: {},
  xml: xmlShapes.config,
  examples: ['farside config pool ls rbd', 'farside config pool ls rbd --format json'],
  async run({ args: { pool }, context, report }) {
    const client = await context.client();
    const value = await framed({ text: 'failed to list config', errno: true }, () => client.config.ofPool(pool));
    report({ value, plain: () => plainOptions(value) });
  },
});
