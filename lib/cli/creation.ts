// Owns what may be said of a new image on the command line: by `create`, `import` and `clone`.

import { FarsideError } from '../errors.ts';
import { parseFeatureList } from '../image/features.ts';
import type { AskedCreation } from '../image/options.ts';
import { invalidOption } from './grammar.ts';
import { objectSizeOption, parsedOption, repeatedOption, switchOption, textOption } from './parameters.ts';

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
};

type Chosen = {
  objectSize: number | undefined;
  order: number | undefined;
  features: string[] | undefined;
  shared: boolean;
  dataPool: string | undefined;
};

/** Only what was said. */
export function askedCreation({ objectSize, order, features, shared, dataPool }: Chosen): AskedCreation {
  const objectBytes = objectSize ?? order;
  return {
    ...(objectBytes === undefined ? {} : { objectBytes }),
    ...(features === undefined ? {} : { features }),
    ...(shared ? { shared } : {}),
    ...(dataPool === undefined ? {} : { dataPool }),
  };
}
