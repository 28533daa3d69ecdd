// `journal info`: where the journal of an image is.

import { defineReport } from '../command.ts';
import { journalArgument, journalOptions } from '../transfer/journal-play.ts';
import { plainJournalInfo } from '../output/plain-journal.ts';
import { unframed } from '../output/wording.ts';
import { xmlShapes } from '../output/xml-shapes.ts';

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
