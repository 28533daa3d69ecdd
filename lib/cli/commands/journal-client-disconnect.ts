// `journal client disconnect`: a replica gets nothing more until it is resynced.

import { defineCommand } from '../command.ts';
import { journalArgument, journalOptions } from '../transfer/journal-play.ts';
import { textOption } from '../parse/parameters.ts';
import { unframed } from '../output/wording.ts';

export const journalClientDisconnect = defineCommand({
  path: 'journal client disconnect',
  summary: 'flag image journal client as disconnected',
  description: 'The replica says so in its status, and stays as it is until a resync of it is asked for.',
  arguments: { image: journalArgument },
  options: {
    ...journalOptions,
    clientId: textOption('--client-id <id>', "the client, as 'journal status' shows it (default: all)"),
  },
  examples: ['farside journal client disconnect vm-1'],
  async run({ args, options, context }) {
    const client = await context.client();
    const ids = await unframed(() => client.journal.disconnect(args.image, options.clientId));
    for (const id of ids) context.output.line(`client ${id} disconnected`);
  },
});
