// `token ls`: who may use a site. Tokens themselves are not known to the site, only their hashes.

import { defineCommand } from '../command.ts';
import { textTable } from '../text-table.ts';
import { unframed } from '../wording.ts';

const columns = ['ID', 'SCOPE', 'CREATED', 'EXPIRES'].map((header) => ({ header }));

export const tokenList = defineCommand({
  path: 'token list',
  aliases: ['ls'],
  summary: 'list access tokens',
  arguments: {},
  options: {},
  examples: ['farside token ls', 'farside --cluster site-b token ls --format json'],
  async run({ context }) {
    const client = await context.client();
    const value = await unframed(() => client.listTokens());
    const rows = value.map((token) => [token.id, token.scope, token.created_at, token.expires_at ?? '-']);
    context.output.report({ value, plain: () => textTable(columns, rows) });
  },
});
