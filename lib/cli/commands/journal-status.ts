// `journal status`: who reads the journal of an image, and how far they are.

import { defineReport } from '../command.ts';
import { journalArgument, journalOptions } from '../transfer/journal-play.ts';
import { plainJournalStatus } from '../output/plain-journal.ts';
import { unframed } from '../output/wording.ts';
import { xmlShapes } from '../output/xml-shapes.ts';

export const journalStatus = defineReport({
  path: 'journal status',
  summary: 'show status of an image journal',
  description:
    'The client without an id is the image itself: what it has committed is in its map. The others are the sites that it is mirrored to.',
  arguments: { image: journalArgument },
  options: journalOptions,
  xml: xmlShapes.journalStatus,
  examples: ['farside journal status vm-1', 'farside journal status vm-1 --format json --pretty-format'],
  async run({ args, context, report }) {
    const client = await context.client();
    const status = await unframed(() => client.journal.status(args.image));
    report({ value: status, plain: () => plainJournalStatus(status) });
  },
});
