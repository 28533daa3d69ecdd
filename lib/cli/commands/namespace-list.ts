// `namespace ls`: the namespaces of a pool, without the default one.

import { defineReport } from '../command.ts';
import { poolArgument } from '../parse/parameters.ts';
import { textTable } from '../output/text-table.ts';
import { unframed } from '../output/wording.ts';
import { xmlShapes } from '../output/xml-shapes.ts';

export const namespaceList = defineReport({
  path: 'namespace list',
  aliases: ['ls'],
  summary: 'list the namespaces of a pool',
  arguments: { pool: poolArgument },
  options: {},
  xml: xmlShapes.namespaces,
  examples: ['farside namespace ls rbd', 'farside namespace ls rbd --format json'],
  async run({ args, context, report }) {
    const client = await context.client();
    const value = await unframed(() => client.listNamespaces(args.pool));
    const rows = value.map(({ name }) => [name]);
    report({ value, plain: () => (rows.length === 0 ? '' : textTable([{ header: 'NAME' }], rows)) });
  },
});
