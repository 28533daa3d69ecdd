// `journal inspect`: reads what is in the journal and not in the map, and verifies it.

import { FarsideError } from '../../errors.ts';
import { defineCommand } from '../command.ts';
import { journalArgument, journalOptions, verboseOption, verboseSegment } from '../transfer/journal-play.ts';
import { imageDeps } from '../sites/open-bucket.ts';
import { openJournal, playJournal } from '../transfer/export-journal.ts';
import { unframed } from '../output/wording.ts';

export const journalInspect = defineCommand({
  path: 'journal inspect',
  summary: 'inspect an image journal for structural errors',
  arguments: { image: journalArgument },
  options: { ...journalOptions, verbose: verboseOption },
  examples: ['farside journal inspect vm-1', 'farside journal inspect vm-1 --verbose'],
  async run({ args, options, context }) {
    const { output } = context;
    if (options.verbose) {
      const deps = imageDeps(await context.registration(), context.terminal);
      const journal = await unframed(() => openJournal(deps, args.image, { unfolded: true }));
      for await (const loaded of playJournal(deps, journal))
        if ('segment' in loaded) output.line(verboseSegment(journal.tag, loaded.segment));
    }
    const client = await context.client();
    const { entries, errors } = await unframed(() => client.journal.inspect(args.image));
    for (const { object_number, error } of errors) output.line(`segment ${object_number}: ${error}`);
    output.line(`Summary:\n  ${entries} entries inspected, ${errors.length} errors`);
    if (errors.length > 0) throw new FarsideError('EBADMSG', 'the journal has errors');
  },
});
