// `clone`: a writable image made of a snapshot, at once. It shares the snapshot's data until it is flattened.

import { FarsideError } from '../../errors.ts';
import type { ImageSpec } from '../../image/deps.ts';
import { cloneFormats } from '../../image/clones/clone.ts';
import { defineCommand, type Argument } from '../command.ts';
import { askedCreation, creationOptions, mirrorNew } from '../parse/creation.ts';
import { poolDefault } from '../parse/grammar.ts';
import { destinationArgument, destinationOptions } from '../parse/destinations.ts';
import { choiceOption, imageOrSnapArgument, snapArgument, snapIdOption, snapshotRefOf } from '../parse/parameters.ts';
import { framed } from '../output/wording.ts';

/** A snapshot, by its name or by `--snap-id`. */
const sourceArgument: Argument<ImageSpec> = {
  ...imageOrSnapArgument,
  take: (words, options, own) =>
    own['snapId'] === undefined
      ? snapArgument.take(words, options, own)
      : imageOrSnapArgument.take(words, options, own),
};

/** As rbd says of a snapshot that is not there. */
function ofParent(cause: unknown): never {
  if (!(cause instanceof FarsideError) || cause.code !== 'ENOENT' || !cause.message.startsWith('snapshot '))
    throw cause;
  throw new FarsideError('ENOENT', `failed to open parent image: ${cause.message}`, { cause });
}

export const clone = defineCommand({
  path: 'clone',
  summary: 'clone a snapshot into a copy-on-write child image',
  description:
    "The child may be in another pool of the site, and its object size is its parent's. With format 1 the snapshot must be protected; with format 2 it " +
    'may be deleted and stays in the trash until its last clone is gone; auto takes 1 where it is protected, else 2.',
  arguments: { source: sourceArgument, target: destinationArgument('image') },
  options: {
    ...destinationOptions,
    snapId: snapIdOption,
    ...creationOptions,
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
    const { cloneFormat } = options;
    const ref = snapshotRefOf(source, options.snapId);
    const client = await context.client();
    const { pool = poolDefault, namespace = '', image: name = '' } = target;
    await framed({ text: 'clone error', errno: true, opensNothing: true }, () =>
      client.clones
        .clone(source, {
          ...ref,
          pool,
          namespace,
          name,
          ...(cloneFormat === undefined ? {} : { cloneFormat }),
          ...askedCreation(options),
        })
        .catch(ofParent),
    );
    await mirrorNew(context, { pool, namespace, image: name }, options.mirrorMode);
  },
});
