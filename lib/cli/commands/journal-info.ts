// `journal info`: where the journal of an image is.

import { defineReport } from '../command.ts';
import { journalArgument, journalOptions } from '../journal-play.ts';
import { plainJournalInfo } from '../plain-journal.ts';
import { unframed } from '../wording.ts';
import { xmlShapes } from '../xml-shapes.ts';

export const journalInfo = defineReport({
  path: 'journal info',
  summary: 'show information about an image journal',
  arguments: { image: journalArgument },
  options: journalOptions,
  xml: xmlShapes.journal,
  examples: ['farside journal info vm-1'],
  async run({ args, context, report }) {
    const client = await context.client();
    const info = await unframed(() => client.journal.info(args.image));
    report({ value: info, plain: () => plainJournalInfo(info) });
  },
});
