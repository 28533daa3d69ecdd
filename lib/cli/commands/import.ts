// `import`: outside content into an image, atomically. With --update, into an image that is there. In format 2, an image
// with all its snapshots.

import { FarsideError } from '../../errors.ts';
import type { Argument, Words } from '../command.ts';
import { defineCommand } from '../command.ts';
import { askedCreation, creationOptions, imageFormatOptions, mirrorNew } from '../parse/creation.ts';
import { resolveImageSpec, type SpecOptions } from '../parse/grammar.ts';
import { withSource } from '../transfer/importing.ts';
import { imageDeps } from '../sites/open-bucket.ts';
import { destinationOptions, refuseDestinationSnap } from '../parse/destinations.ts';
import {
  compressionOption,
  exportFormatOption,
  imageArgument,
  pathArgument,
  pathOption,
  sparseSizeOption,
  switchOption,
} from '../parse/parameters.ts';
import { importContainer } from '../transfer/container.ts';
import { importImage } from '../transfer/import.ts';
import type { ImageSpec } from '../../image/deps.ts';
import { framed, streamFrame } from '../output/wording.ts';

/** Without a spec, the image is called like the file, as in rbd. */
const targetArgument: Argument<(path: string) => ImageSpec> = {
  placeholder: '[image-spec]',
  help: `${imageArgument.help} (default: the file's name)`,
  take: (words, options: SpecOptions, own) => {
    if (own['dest'] !== undefined || own['destPool'] !== undefined) return namedTarget(words, options, own);
    const word = options.image === undefined ? words.shift() : undefined;
    return (path) =>
      refuseDestinationSnap(
        resolveImageSpec(word ?? (options.image === undefined ? fileName(path) : undefined), options),
      );
  },
};

/** By `--dest` and its kind; what they leave open, the general options say. */
function namedTarget(
  words: Words,
  options: SpecOptions,
  own: Readonly<Record<string, unknown>>,
): (path: string) => ImageSpec {
  const named = own as { [K in keyof typeof destinationOptions]?: string };
  const word = named.dest ?? options.image ?? words.shift();
  const places = { pool: named.destPool ?? options.pool, namespace: named.destNamespace ?? options.namespace };
  return (path) => refuseDestinationSnap(resolveImageSpec(word ?? fileName(path), places));
}

function fileName(path: string): string {
  if (path === '-') throw new FarsideError('EINVAL', 'image name was not specified');
  return path.slice(path.lastIndexOf('/') + 1);
}

export const importCommand = defineCommand({
  path: 'import',
  summary: 'import a file, a block device or standard input into an image',
  description:
    'The image appears when all of it is there. An interrupted import is run again as it was, and uploads only what is missing. ' +
    "With --update, an existing image gets the file's content and size in one step, and only what differs is uploaded. " +
    'In format 2, of which rbd makes the same, the image comes with its snapshots, metadata, features and object size.',
  arguments: { path: pathArgument('file to import (or - for stdin)'), image: targetArgument },
  options: {
    path: pathOption,
    dest: destinationOptions.dest,
    destPool: destinationOptions.destPool,
    destNamespace: destinationOptions.destNamespace,
    update: switchOption('--update', 'change an existing image'),
    ...creationOptions,
    ...imageFormatOptions,
    sparseSize: sparseSizeOption,
    compression: compressionOption,
    exportFormat: exportFormatOption,
  },
  examples: [
    'farside import disk.img vm-1',
    'zcat disk.img.gz | farside import - backup/vm-1',
    'farside import --update /dev/vg0/vm-1-snap vm-1',
    'farside import --export-format 2 vm-1.exp vm-1',
  ],
  async run({ args: { path, image }, options, context }) {
    const spec = image(path);
    const { update, compression } = options;
    const creation = askedCreation(options);
    const isContainer = options.exportFormat === '2';
    if (update && options.mirrorMode !== undefined)
      throw new FarsideError('EINVAL', "--mirror-image-mode is of a new image: use 'farside mirror image enable'");
    if (isContainer && update) throw new FarsideError('EINVAL', '--update takes raw content (--export-format 1) only');
    await withSource(context, { path, title: 'Importing image' }, async (source, progress) => {
      const deps = imageDeps(await context.registration(), context.terminal);
      await framed(streamFrame('import failed'), async () => {
        if (isContainer) await importContainer(deps, spec, source, { ...creation, compression, progress });
        else await importImage(deps, spec, source, { ...creation, update, compression, progress });
      });
    });
    await mirrorNew(context, spec, options.mirrorMode);
  },
});
