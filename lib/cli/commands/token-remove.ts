// `token rm`: revokes a token, within seconds.

import { defineCommand } from '../command.ts';
import { textArgument } from '../parse/parameters.ts';
import { unframed } from '../output/wording.ts';

export const tokenRemove = defineCommand({
  path: 'token remove',
  aliases: ['rm'],
  summary: 'revoke an access token',
  arguments: { id: textArgument('id', "token id ('farside token ls' shows it)", 'token id was not specified') },
  options: {},
  examples: ['farside token rm 5f0c2b7a9d1e4c36'],
  async run({ args, context }) {
    const client = await context.client();
    await unframed(() => client.removeToken(args.id));
  },
});
