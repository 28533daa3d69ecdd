// `import-diff`: a diff stream, of rbd or farside, into an image, atomically with the snapshot at its end.

import { defineCommand } from '../command.ts';
import { imageDeps } from '../open-bucket.ts';
import { compressionOption, imageArgument, pathArgument, pathOption, sparseSizeOption } from '../parameters.ts';
import { startProgress } from '../progress.ts';
import { importDiff as importStream } from '../transfer-import-diff.ts';
import { openSource } from '../transfer-source.ts';
import { framed, streamFrame } from '../wording.ts';

export const importDiff = defineCommand({
  path: 'import-diff',
  summary: 'import an incremental diff',
  description:
    'Content, size and the snapshot at the end appear in one step; a stream that fails in the middle leaves the image as it was. ' +
    'The snapshot that the diff starts from must be there; the diff goes over what the image holds now.',
  arguments: { path: pathArgument('import file (or - for stdin)'), image: imageArgument },
  options: { path: pathOption, sparseSize: sparseSizeOption, compression: compressionOption },
  examples: ['farside import-diff tuesday.diff vm-1', 'rbd export-diff vm-1@monday - | farside import-diff - vm-1'],
  async run({ args, options, context }) {
    const deps = imageDeps(await context.registration(), context.terminal);
    const source = await openSource(args.path, context.terminal.stdin);
    const progress = startProgress(context.terminal, context.general, {
      title: 'Importing image diff',
      totalBytes: source.sizeBytes,
    });
    let moved: string | undefined;
    try {
      const { compression } = options;
      moved = await framed(streamFrame('import-diff failed'), () =>
        importStream(deps, args.image, source, { compression, progress }),
      );
    } finally {
      progress.stop();
      await source.close();
    }
    if (moved === undefined) return;
    context.output.note(
      `note: the image had changed since snapshot '${moved}', which the diff starts from: what the diff does not touch stays as it was`,
    );
  },
});
