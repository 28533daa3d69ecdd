// `journal reset`: everything that is in the journal goes into the map, and replicas go on from there.

import { defineCommand } from '../command.ts';
import { journalArgument, journalOptions } from '../transfer/journal-play.ts';
import { framed } from '../output/wording.ts';

export const journalReset = defineCommand({
  path: 'journal reset',
  summary: 'reset an image journal',
  arguments: { image: journalArgument },
  options: journalOptions,
  examples: ['farside journal reset vm-1'],
  async run({ args, context }) {
    const client = await context.client();
    await framed({ text: 'failed to reset journal', errno: true }, () => client.journal.reset(args.image));
  },
});
