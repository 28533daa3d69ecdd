// `clone`: a writable image made of a snapshot, at once. It shares the snapshot's data until it is flattened.

import { cloneFormats } from '../../image/clone.ts';
import { parseFeatureList } from '../../image/features.ts';
import { defineCommand } from '../command.ts';
import { invalidOption, poolDefault } from '../grammar.ts';
import {
  choiceOption,
  destinationArgument,
  destinationOptions,
  imageOrSnapArgument,
  objectSizeOption,
  parsedOption,
  snapIdOption,
  snapshotRefOf,
} from '../parameters.ts';
import { framed } from '../wording.ts';

function parseFeatures(text: string): string[] {
  const features = parseFeatureList(text);
  if (!features) throw invalidOption('--image-feature');
  return features;
}

/** `--order 22` is `--object-size 4M`. */
function parseOrder(text: string): number {
  const order = /^\d{1,2}$/.test(text) ? Number(text) : 0;
  if (order < 12 || order > 25) throw invalidOption('--order');
  return 2 ** order;
}

export const clone = defineCommand({
  path: 'clone',
  summary: 'clone a snapshot into a copy-on-write child image',
  description:
    "The child may be in another pool of the site, and its object size is its parent's. With format 1 the snapshot must be protected; with format 2 it " +
    'may be deleted and stays in the trash until its last clone is gone; auto takes 1 where it is protected, else 2.',
  arguments: { source: imageOrSnapArgument, target: destinationArgument('image') },
  options: {
    ...destinationOptions,
    snapId: snapIdOption,
    objectSize: objectSizeOption,
    order: parsedOption(
      '--order <order>',
      'object order: the object size is 2^order bytes [12 <= order <= 25]',
      parseOrder,
    ),
    features: parsedOption(
      '--image-feature <features>',
      "features of the clone (default: its parent's)",
      parseFeatures,
    ),
    cloneFormat: choiceOption(
      '--rbd-default-clone-format <format>',
      'format of the clone (default: auto)',
      cloneFormats,
    ),
  },
  examples: [
    'farside clone vm-1@golden vm-2',
    'farside clone rbd/vm-1@golden backup/vm-2 --rbd-default-clone-format 2',
  ],
  async run({ args: { source, target }, options, context }) {
    const { objectSize, order, features, cloneFormat } = options;
    const ref = snapshotRefOf(source, options.snapId);
    const objectBytes = objectSize ?? order;
    const client = await context.client();
    await framed({ text: 'clone error', errno: true }, () =>
      client.cloneImage(source, {
        ...ref,
        pool: target.pool ?? poolDefault,
        namespace: target.namespace ?? '',
        name: target.image ?? '',
        ...(cloneFormat === undefined ? {} : { cloneFormat }),
        ...(features === undefined ? {} : { features }),
        ...(objectBytes === undefined ? {} : { objectBytes }),
      }),
    );
  },
});
