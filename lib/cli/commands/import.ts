// `import`: outside content into an image, atomically. With --update, into an image that is there.

import { FarsideError } from '../../errors.ts';
import type { Compression } from '../../image/codec.ts';
import type { Argument } from '../command.ts';
import { defineCommand } from '../command.ts';
import { refuseSnap, resolveImageSpec, type SpecOptions } from '../grammar.ts';
import { imageDeps } from '../open-bucket.ts';
import { choiceOption, imageArgument, objectSizeOption, pathArgument, switchOption } from '../parameters.ts';
import { startProgress } from '../progress.ts';
import { importImage } from '../transfer-import.ts';
import { openSource } from '../transfer-source.ts';
import type { ImageSpec } from '../../image/deps.ts';
import { framed } from '../wording.ts';

const compressions: readonly Compression[] = ['auto', 'none'];

/** Without a spec, the image is called like the file, as in rbd. */
const targetArgument: Argument<(path: string) => ImageSpec> = {
  placeholder: '[image-spec]',
  help: `${imageArgument.help} (default: the file's name)`,
  take: (words, options: SpecOptions) => {
    const word = options.image === undefined ? words.shift() : undefined;
    return (path) =>
      refuseSnap(resolveImageSpec(word ?? (options.image === undefined ? fileName(path) : undefined), options));
  },
};

function fileName(path: string): string {
  if (path === '-') throw new FarsideError('EINVAL', 'image name was not specified');
  return path.slice(path.lastIndexOf('/') + 1);
}

export const importCommand = defineCommand({
  path: 'import',
  summary: 'import a file, a block device or standard input into an image',
  description:
    'The image appears when all of it is there. An interrupted import is run again as it was, and uploads only what is missing. ' +
    "With --update, an existing image gets the file's content and size in one step, and only what differs is uploaded.",
  arguments: { path: pathArgument('file to import (or - for stdin)'), image: targetArgument },
  options: {
    update: switchOption('--update', 'change an existing image'),
    objectSize: objectSizeOption,
    compression: choiceOption(
      '--compression <when>',
      'compress blocks: auto does it where a probe says that it pays (default: by rbd_compression_hint, else auto)',
      compressions,
    ),
  },
  examples: [
    'farside import disk.img vm-1',
    'zcat disk.img.gz | farside import - backup/vm-1',
    'farside import --update /dev/vg0/vm-1-snap vm-1',
  ],
  async run({ args: { path, image }, options, context }) {
    const spec = image(path);
    const objectBytes = options.objectSize === undefined ? {} : { objectBytes: options.objectSize };
    const compression = options.compression === undefined ? {} : { compression: options.compression };
    const source = await openSource(path, context.terminal.stdin);
    const progress = startProgress(context.terminal, context.general, {
      title: 'Importing image',
      totalBytes: source.sizeBytes,
    });
    try {
      const deps = imageDeps(await context.registration(), context.terminal);
      await framed({ text: 'import failed', errno: true }, () =>
        importImage(deps, spec, source, { update: options.update, ...compression, ...objectBytes, progress }),
      );
    } finally {
      progress.stop();
      await source.close();
    }
  },
});
