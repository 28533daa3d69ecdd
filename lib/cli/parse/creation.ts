// Owns what may be said of a new image on the command line: by `create`, `import`, `clone` and the copies. docs/options.md lists what is
// accepted and changes nothing, and why.

import { FarsideError } from '../../errors.ts';
import type { ImageSpec } from '../../image/deps.ts';
import { parseFeatureList } from '../../image/features.ts';
import type { AskedCreation } from '../../image/options.ts';
import type { ImageMirrorMode } from '../client/client.ts';
import type { Context } from '../sites/context.ts';
import { invalidOption, parseIoBytes } from './grammar.ts';
import {
  bytesOption,
  choiceOption,
  integerOption,
  objectSizeOption,
  parsedOption,
  repeatedOption,
  switchOption,
  textOption,
} from './parameters.ts';

export const imageMirrorModes: readonly ImageMirrorMode[] = ['journal', 'snapshot'];

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

function checkFormat(text: string): 2 {
  if (text === '1') throw new FarsideError('EINVAL', 'create error: format 1 is unsupported, as in rbd itself by now');
  if (text !== '2') throw invalidOption('--image-format');
  return 2;
}

/** Of `create` and `import`. They say nothing: there is one format. */
export const imageFormatOptions = {
  imageFormat: parsedOption('--image-format <format>', 'image format (default: 2, and no other)', checkFormat),
  newFormat: switchOption('--new-format', 'use image format 2 (accepted)'),
};

/** As rbd, from 4 KiB on. */
function parseJournalBytes(text: string): number {
  const bytes = parseIoBytes('--journal-object-size')(text);
  if (bytes <= 2048) throw invalidOption('--journal-object-size');
  return bytes;
}

/** Of rbd's journal, whose objects are laid out; ours is segments, cut by size and age. */
export const journalLayoutOptions = {
  journalSplayWidth: integerOption('--journal-splay-width <n>', 'accepted; a journal is one row of segments', {
    min: 0,
    max: 1000,
  }),
  journalObjectSize: parsedOption(
    '--journal-object-size <size>',
    'accepted; segments are cut by size and age',
    parseJournalBytes,
  ),
  journalPool: textOption('--journal-pool <pool>', 'accepted; a journal lies with its image'),
};

export const creationOptions = {
  objectSize: objectSizeOption,
  order: parsedOption(
    '--order <order>',
    'object order: the object size is 2^order bytes [12 <= order <= 25]',
    parseOrder,
  ),
  features: repeatedOption(
    '--image-feature <features>',
    'image features (default: by rbd_default_features, or the parent)',
    parseFeatures,
  ),
  shared: switchOption('--image-shared', 'without the features of a single client'),
  dataPool: textOption('--data-pool <pool>', 'data pool: shown, and used by nothing else in farside'),
  mirrorMode: choiceOption('--mirror-image-mode <mode>', 'enable mirroring of the image', imageMirrorModes),
  stripeUnit: bytesOption('--stripe-unit <size>', 'accepted with --stripe-count 1'),
  stripeCount: integerOption('--stripe-count <n>', 'striping: 1, which is none', { min: 0, max: 1_000_000 }),
  ...journalLayoutOptions,
};

type Chosen = {
  objectSize: number | undefined;
  order: number | undefined;
  features: string[] | undefined;
  shared: boolean;
  dataPool: string | undefined;
  stripeUnit: number | undefined;
  stripeCount: number | undefined;
};

/** Only what was said. */
export function askedCreation(chosen: Chosen): AskedCreation {
  refuseStriping(chosen);
  const { objectSize, order, features, shared, dataPool } = chosen;
  const objectBytes = objectSize ?? order;
  return {
    ...(objectBytes === undefined ? {} : { objectBytes }),
    ...(features === undefined ? {} : { features }),
    ...(shared ? { shared } : {}),
    ...(dataPool === undefined ? {} : { dataPool }),
  };
}

function refuseStriping({ stripeUnit, stripeCount }: Pick<Chosen, 'stripeUnit' | 'stripeCount'>): void {
  if ((stripeUnit === undefined) !== (stripeCount === undefined))
    throw new FarsideError('EINVAL', 'must specify both (or neither) of stripe-unit and stripe-count');
  if (stripeCount === undefined || stripeCount === 1) return;
  const why = "data lie in packs, many of which are read at once, and not in an image's objects";
  throw new FarsideError(
    'EOPNOTSUPP',
    `striping is not in farside: ${why}; leave --stripe-unit and --stripe-count out`,
  );
}

/** `--mirror-image-mode`, once the image is there. */
export async function mirrorNew(context: Context, spec: ImageSpec, mode: ImageMirrorMode | undefined): Promise<void> {
  if (mode === undefined) return;
  const client = await context.client();
  await client.enableImage(spec, mode).catch((cause: unknown) => {
    if (!(cause instanceof FarsideError)) throw cause;
    const what = `image ${spec.image} is made, but mirroring of it could not be enabled`;
    throw new FarsideError(cause.code, `${what}: ${cause.message}`, { cause });
  });
}
