// `export-diff`: what changed since a snapshot, or since the image was made, as rbd's diff stream.

import { defineCommand } from '../command.ts';
import { imageDeps } from '../sites/open-bucket.ts';
import { differenceOptions, imageOrSnapArgument, pathArgument, pathOption } from '../parse/parameters.ts';
import { startProgress } from '../output/progress.ts';
import { diffStream, openDifference } from '../transfer/export-diff.ts';
import { sendParts } from '../transfer/sink.ts';
import { framed } from '../output/wording.ts';

const failure = 'export-diff error';

export const exportDiff = defineCommand({
  path: 'export-diff',
  summary: 'export incremental diff to file',
  description:
    'The stream is that of rbd export-diff (v1), and import-diff of both takes it. A file must not exist yet. Every byte is verified.',
  arguments: { image: imageOrSnapArgument, path: pathArgument('export file (or - for stdout)') },
  options: { path: pathOption, ...differenceOptions },
  examples: [
    'farside export-diff vm-1@monday monday.diff',
    'farside export-diff --from-snap monday vm-1@tuesday - | farside --cluster site-b import-diff - vm-1',
  ],
  async run({ args, options, context }) {
    const deps = imageDeps(await context.registration(), context.terminal);
    const difference = await openDifference(deps, args.image, options, failure);
    const progress = startProgress(context.terminal, context.general, {
      title: 'Exporting image',
      totalBytes: difference.to.sizeBytes,
    });
    try {
      await framed({ text: failure, errno: true }, () =>
        sendParts(args.path, context.terminal.stdout, diffStream(1, difference, progress)),
      );
    } finally {
      progress.stop();
    }
  },
});
