// `import-diff`: a diff stream, of rbd or farside, into an image, atomically with the snapshot at its end.

import { defineCommand } from '../command.ts';
import { withSource } from '../transfer/importing.ts';
import { imageDeps } from '../sites/open-bucket.ts';
import { compressionOption, imageArgument, pathArgument, pathOption, sparseSizeOption } from '../parse/parameters.ts';
import { importDiff as importStream } from '../transfer/import-diff.ts';
import { framed, streamFrame } from '../output/wording.ts';

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
    const { compression } = options;
    const moved = await withSource(context, { path: args.path, title: 'Importing image diff' }, (source, progress) =>
      framed(streamFrame('import-diff failed'), () =>
        importStream(deps, args.image, source, { compression, progress }),
      ),
    );
    if (moved === undefined) return;
    context.output.note(
      `note: the image had changed since snapshot '${moved}', which the diff starts from: what the diff does not touch stays as it was`,
    );
  },
});
