// `token ls`: who may use a site. Tokens themselves are not known to the site, only their hashes.

import { defineReport } from '../command.ts';
import { textTable } from '../output/text-table.ts';
import { unframed } from '../output/wording.ts';
import { xmlShapes } from '../output/xml-shapes.ts';

const columns = ['ID', 'SCOPE', 'CREATED', 'EXPIRES'].map((header) => ({ header }));

export const tokenList = defineReport({
  path: 'token list',
  aliases: ['ls'],
  summary: 'list access tokens',
  arguments: {},
  options: {},
  xml: xmlShapes.tokens,
  examples: ['farside token ls', 'farside --cluster site-b token ls --format json'],
  async run({ context, report }) {
    const client = await context.client();
    const value = await unframed(() => client.listTokens());
    const rows = value.map((token) => [token.id, token.scope, token.created_at, token.expires_at ?? '-']);
    report({ value, plain: () => textTable(columns, rows) });
  },
});
