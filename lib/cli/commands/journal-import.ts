// `journal import`: what a journal stream says was written is written to an image, in its order and in one step.

import { FarsideError } from '../../errors.ts';
import type { ImageSpec } from '../../image/deps.ts';
import { defineCommand, type Argument } from '../command.ts';
import { definedParts, refuseSnap, resolveImageSpec } from '../parse/grammar.ts';
import { withSource } from '../transfer/importing.ts';
import { playOptions, refuseErrors, tallyLine, verboseSegment } from '../transfer/journal-play.ts';
import { imageDeps } from '../sites/open-bucket.ts';
import { destinationOptions } from '../parse/destinations.ts';
import { compressionOption, imageArgument, pathArgument, pathOption, textOption } from '../parse/parameters.ts';
import { importJournal } from '../transfer/import-journal.ts';
import { framed, streamFrame } from '../output/wording.ts';

const { dest, destPool, destNamespace } = destinationOptions;

/** Named by a spec, or by `--dest` and its kind. */
const targetArgument: Argument<ImageSpec> = {
  placeholder: 'dest-image-spec',
  help: `destination ${imageArgument.help}`,
  take: (words, options, own) => {
    const named = own as Record<'dest' | 'destPool' | 'destNamespace' | 'destJournal', string | undefined>;
    if (named.destJournal !== undefined && (named.dest ?? options.image) !== undefined)
      throw new FarsideError('EINVAL', 'specify either the image or the journal, not both');
    const places = definedParts({ pool: named.destPool, namespace: named.destNamespace });
    const name = named.dest ?? named.destJournal;
    if (!name && !words[0] && !options.image) throw new FarsideError('EINVAL', 'destination journal was not specified');
    const spec = refuseSnap(
      name === undefined
        ? resolveImageSpec(options.image === undefined ? words.shift() : undefined, { ...options, ...places })
        : resolveImageSpec(name, places),
    );
    return named.destJournal === undefined ? spec : { ...spec, byId: true };
  },
};

export const journalImport = defineCommand({
  path: 'journal import',
  summary: 'import image journal',
  description:
    'The image gets all of it in one step; a stream that fails in the middle leaves it as it was. ' +
    'With --no-error damaged segments are left out, and the others count. The image must be as large as the one that the journal is of.',
  arguments: { path: pathArgument('import file (or - for stdin)'), target: targetArgument },
  options: {
    path: pathOption,
    dest,
    destPool,
    destNamespace,
    destJournal: textOption('--dest-journal <journal-id>', 'journal id of the destination, instead of the image'),
    ...playOptions,
    compression: compressionOption,
  },
  examples: ['farside journal import vm-1.journal vm-2'],
  async run({ args, options, context }) {
    const deps = imageDeps(await context.registration(), context.terminal);
    await withSource(context, { path: args.path, title: 'Importing journal' }, async (source, progress) => {
      const tally = await framed(streamFrame('journal import failed'), () =>
        importJournal(deps, args.target, source, {
          compression: options.compression,
          noError: options.noError,
          progress,
          onSegment: options.verbose ? (segment, tag) => context.output.line(verboseSegment(tag, segment)) : undefined,
          onDamage: options.noError ? (_, cause) => context.output.note(cause.message) : undefined,
        }),
      );
      context.output.line(tallyLine(tally));
      refuseErrors(tally, 'of the stream left out');
    });
  },
});
