// `export`: an image's content, or a snapshot's, into a new file or to standard output. In format 2, the image with all its
// snapshots.

import { FarsideError } from '../../errors.ts';
import type { ImageDeps, ImageSpec } from '../../image/deps.ts';
import { defineCommand } from '../command.ts';
import type { Context } from '../sites/context.ts';
import { imageDeps } from '../sites/open-bucket.ts';
import {
  exportFormatOption,
  imageOrSnapArgument,
  pathArgument,
  pathOption,
  snapIdOption,
} from '../parse/parameters.ts';
import { startProgress, type Progress } from '../output/progress.ts';
import { openContainer } from '../transfer/container.ts';
import { exportToFile, exportToStream, openContent } from '../transfer/export.ts';
import { sendParts, stdoutPath } from '../transfer/sink.ts';
import { framed, snapshotContextFrame } from '../output/wording.ts';

/** What is exported, opened: what it comes to, and how it is sent. */
type Export = { totalBytes: number; send: (progress: Progress) => Promise<void> };

type Wanted = { path: string; snapId: number | undefined };

export const exportCommand = defineCommand({
  path: 'export',
  summary: 'export an image or snapshot to a file or standard output',
  description:
    'A file must not exist yet; holes stay holes in it. Every byte is verified. The image may be written to meanwhile: what is exported is as it was at the start. ' +
    'In format 2 the image goes out with its user snapshots, metadata, features and object size, for import --export-format 2, also of rbd.',
  arguments: {
    image: imageOrSnapArgument,
    path: pathArgument('file to write (or - for stdout)'),
  },
  options: { path: pathOption, exportFormat: exportFormatOption, snapId: snapIdOption },
  examples: [
    'farside export vm-1 disk.img',
    'farside export backup/vm-1@before - | sha256sum',
    'farside export --export-format 2 vm-1 vm-1.exp',
    'farside export vm-1 --snap-id 12 monday.img',
  ],
  async run({ args, options, context }) {
    const { path } = args;
    const deps = imageDeps(await context.registration(), context.terminal);
    const { exportFormat, snapId } = options;
    if (snapId !== undefined && (exportFormat === '2' || args.image.snap !== undefined))
      throw new FarsideError('EINVAL', '--snap-id names the snapshot: no other, and in format 1');
    const open = exportFormat === '2' ? openFormat2 : openFormat1;
    const { totalBytes, send } = await framed(snapshotContextFrame('export error'), () =>
      open(deps, args.image, { path, snapId }, context),
    );
    const progress = startProgress(context.terminal, context.general, { title: 'Exporting image', totalBytes });
    try {
      await framed({ text: 'export error', errno: true }, () => send(progress));
    } finally {
      progress.stop();
    }
  },
});

async function openFormat1(
  deps: ImageDeps,
  spec: ImageSpec,
  { path, snapId }: Wanted,
  { terminal }: Context,
): Promise<Export> {
  const content = await openContent(deps, spec, snapId);
  return {
    totalBytes: content.sizeBytes,
    send: (progress) =>
      path === stdoutPath ? exportToStream(content, terminal.stdout, progress) : exportToFile(content, path, progress),
  };
}

async function openFormat2(deps: ImageDeps, spec: ImageSpec, { path }: Wanted, { terminal }: Context): Promise<Export> {
  const { totalBytes, parts } = await openContainer(deps, spec);
  return { totalBytes, send: (progress) => sendParts(path, terminal.stdout, parts(progress)) };
}
