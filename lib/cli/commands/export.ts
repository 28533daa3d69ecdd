// `export`: an image's content, or a snapshot's, into a new file or to standard output.

import { defineCommand } from '../command.ts';
import { imageDeps } from '../open-bucket.ts';
import { imageOrSnapArgument, optionalTextArgument } from '../parameters.ts';
import { startProgress } from '../progress.ts';
import { exportToFile, exportToStream, openContent } from '../transfer-export.ts';
import { framed, snapshotContextFrame } from '../wording.ts';

const stdoutPath = '-';

export const exportCommand = defineCommand({
  path: 'export',
  summary: 'export an image or snapshot to a file or standard output',
  description:
    'A file must not exist yet; holes stay holes in it. Every byte is verified. The image may be written to meanwhile: what is exported is as it was at the start.',
  arguments: {
    image: imageOrSnapArgument,
    path: optionalTextArgument('path-name', "file to write (or - for stdout; default: the image's name)"),
  },
  options: {},
  examples: ['farside export vm-1 disk.img', 'farside export backup/vm-1@before - | sha256sum'],
  async run({ args, context }) {
    const path = args.path ?? args.image.image;
    const deps = imageDeps(await context.registration(), context.terminal);
    const content = await framed(snapshotContextFrame('export error'), () => openContent(deps, args.image));
    const progress = startProgress(context.terminal, context.general, {
      title: 'Exporting image',
      totalBytes: content.sizeBytes,
    });
    try {
      await framed({ text: 'export error', errno: true }, () =>
        path === stdoutPath
          ? exportToStream(content, context.terminal.stdout, progress)
          : exportToFile(content, path, progress),
      );
    } finally {
      progress.stop();
    }
  },
});
