// `journal export`: what is left of an image's journal, as a stream that `journal import` takes.

import { defineCommand } from '../command.ts';
import {
  journalArgument,
  journalOptions,
  playOptions,
  refuseErrors,
  tallyLine,
  verboseSegment,
} from '../transfer/journal-play.ts';
import { imageDeps } from '../sites/open-bucket.ts';
import { pathArgument, pathOption } from '../parse/parameters.ts';
import { startProgress } from '../output/progress.ts';
import { journalStream, openJournal } from '../transfer/export-journal.ts';
import { sendParts, stdoutPath } from '../transfer/sink.ts';
import { streamFrame, framed, unframed } from '../output/wording.ts';

export const journalExport = defineCommand({
  path: 'journal export',
  summary: 'export image journal',
  description:
    'What was written in the newest period of an attachment, as far as collection has left it whole; it is verified. ' +
    'The stream is described in docs/format.md. A file must not exist yet.',
  arguments: { image: journalArgument, path: pathArgument('export file (or - for stdout)') },
  options: { path: pathOption, ...journalOptions, ...playOptions },
  examples: [
    'farside journal export vm-1 vm-1.journal',
    'farside journal export vm-1 - | farside --cluster site-b journal import - vm-2',
  ],
  async run({ args, options, context }) {
    const deps = imageDeps(await context.registration(), context.terminal);
    const journal = await unframed(() => openJournal(deps, args.image));
    // What goes to stdout is the stream, and nothing else.
    const say = (text: string): void =>
      args.path === stdoutPath ? context.output.note(text) : context.output.line(text);
    const progress = startProgress(context.terminal, context.general, {
      title: 'Exporting journal',
      totalBytes: undefined,
    });
    const tally = { entries: 0, errors: 0 };
    const stream = journalStream(deps, journal, tally, {
      noError: options.noError,
      progress,
      onSegment: options.verbose ? (segment, tag) => say(verboseSegment(tag, segment)) : undefined,
      onDamage: options.noError ? (_, cause) => context.output.note(cause.message) : undefined,
    });
    try {
      const { stdout } = context.terminal;
      await framed(streamFrame('journal export failed'), () => sendParts(args.path, stdout, stream));
    } finally {
      progress.stop();
    }
    say(tallyLine(tally));
    refuseErrors(tally, 'left out of the export');
  },
});
