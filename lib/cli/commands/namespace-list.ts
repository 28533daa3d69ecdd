// `namespace ls`: the namespaces of a pool, without the default one.

import { defineCommand } from '../command.ts';
import { poolArgument } from '../parameters.ts';
import { textTable } from '../text-table.ts';
import { unframed } from '../wording.ts';

export const namespaceList = defineCommand({
  path: 'namespace list',
  aliases: ['ls'],
  summary: 'list the namespaces of a pool',
  arguments: { pool: poolArgument },
  options: {},
  examples: ['farside namespace ls rbd', 'farside namespace ls rbd --format json'],
  async run({ args, context }) {
    const client = await context.client();
    const value = await unframed(() => client.listNamespaces(args.pool));
    const rows = value.map(({ name }) => [name]);
    context.output.report({ value, plain: () => (rows.length === 0 ? '' : textTable([{ header: 'NAME' }], rows)) });
  },
});
