// Owns the kinds of argument and option that commands are made of, so that every command words them the same way.

import { FarsideError } from '../../errors.ts';
import type { Compression } from '../../image/format/codec.ts';
import type { ImageSpec } from '../../image/deps.ts';
import { parseFeatureList } from '../../image/features.ts';
import { checkOptionName, type OptionLevel } from '../../image/options.ts';
import { formatKeepPolicy, parseKeepPolicy } from '../../mirror/roles/keep-policy.ts';
import type { Argument, Option, Words } from '../command.ts';
import {
  invalidNumber,
  invalidOption,
  objectBytesMax,
  objectBytesMin,
  formatBytes,
  parseIoBytes,
  parseObjectBytes,
  parseSparseBytes,
  refuseOddNames,
  refuseSnap,
  requireSnap,
  resolveImageSpec,
  resolveLevel,
  resolvePoolSpec,
  resolvePresent,
  type Level,
  type PoolSpec,
  type SnapSpec,
  type SpecOptions,
  type TrashSpec,
} from './grammar.ts';

/** As rbd: the spec is the first free word unless `--image` names the image, or `--image-id` where a command has it. */
function takeImage(words: Words, options: SpecOptions, own: Readonly<Record<string, unknown>> = {}): ImageSpec {
  const { imageId } = own;
  if (typeof imageId !== 'string')
    return resolvePresent(options.image === undefined ? words.shift() : undefined, options);
  if (words.length > 0 || options.image !== undefined)
    throw new FarsideError('EINVAL', 'trying to access image using both name and id.');
  return { ...resolveImageSpec(imageId, options), byId: true };
}

export const imageArgument: Argument<ImageSpec> = {
  placeholder: 'image-spec',
  help: 'image specification: [<pool-name>/[<namespace>/]]<image-name>',
  take: (words, options, own) => refuseOddNames(refuseSnap(takeImage(words, options, own))),
};

/** An image that is to be made. */
export const newImageArgument: Argument<ImageSpec> = {
  ...imageArgument,
  take: (words, options) =>
    refuseSnap(resolveImageSpec(options.image === undefined ? words.shift() : undefined, options)),
};

export const imageOrSnapArgument: Argument<ImageSpec> = {
  placeholder: 'image-or-snap-spec',
  help: 'image or snapshot specification: [<pool-name>/[<namespace>/]]<image-name>[@<snap-name>]',
  take: (words, options, own) => refuseOddNames(takeImage(words, options, own)),
};

/** At least one: all the words that are left. */
export const imageOrSnapsArgument: Argument<ImageSpec[]> = {
  placeholder: 'image-or-snap-spec...',
  help: imageOrSnapArgument.help,
  take: (words, options) => {
    const specs = [takeImage(words, options)];
    while (options.image === undefined && words.length > 0) specs.push(takeImage(words, options));
    return specs.map(refuseOddNames);
  },
};

export const snapArgument: Argument<SnapSpec> = {
  placeholder: 'snap-spec',
  help: 'snapshot specification: [<pool-name>/[<namespace>/]]<image-name>@<snap-name>',
  take: (words, options, own) => refuseOddNames(requireSnap(takeImage(words, options, own))),
};

/** A snapshot that is to be made. */
export const newSnapArgument: Argument<SnapSpec> = {
  ...snapArgument,
  take: (words, options) => {
    const spec = requireSnap(takeImage(words, options));
    if (/[/@]/.test(spec.snap)) throw new FarsideError('EINVAL', `invalid spec '${spec.image}@${spec.snap}'`);
    return refuseOddNames(spec);
  },
};

/** An image if one is named, else undefined: for verbs that take a whole pool too. */
export const optionalImageOrSnapArgument: Argument<ImageSpec | undefined> = {
  placeholder: '[image-or-snap-spec]',
  help: imageOrSnapArgument.help,
  take: (words, options) => {
    if (words[0] === '') words.shift();
    return words.length === 0 && !options.image ? undefined : refuseOddNames(takeImage(words, options));
  },
};

/** An image in the trash: `[pool/[namespace/]]id`; undefined when `--image-id` says it. */
export const imageIdArgument: Argument<TrashSpec | undefined> = {
  placeholder: '[image-id]',
  help: 'image id (example: [<pool-name>/[<namespace>/]]<image-id>)',
  take: (words, { pool, namespace }) => {
    const word = words.shift();
    return word === undefined ? undefined : trashSpecOf(word, { pool, namespace });
  },
};

/** What argument and option say together. */
export function imageIdOf(
  argument: TrashSpec | undefined,
  option: string | undefined,
  general: SpecOptions,
): TrashSpec {
  if (argument) return argument;
  if (option === undefined) throw new FarsideError('EINVAL', 'image id was not specified');
  return trashSpecOf(option, { pool: general.pool, namespace: general.namespace });
}

function trashSpecOf(text: string, options: SpecOptions): TrashSpec {
  const { image, ...spec } = refuseSnap(resolveImageSpec(text, options));
  return { ...spec, id: image };
}

/** Another image, named in full, if any. */
export const optionalImageArgument: Argument<ImageSpec | undefined> = {
  placeholder: '[dest-image-spec]',
  help: 'destination image specification',
  take: (words) => {
    const word = words.shift();
    return word === undefined ? undefined : refuseSnap(resolveImageSpec(word, {}));
  },
};

export const poolAndNamespaceArgument: Argument<PoolSpec> = {
  placeholder: '[pool-spec]',
  help: 'pool specification: <pool-name>[/<namespace>] (default pool: rbd)',
  take: (words, options) => resolvePoolSpec(options.pool === undefined ? words.shift() : undefined, options),
};

/** A namespace that has to be named. */
export const namespaceArgument: Argument<PoolSpec> = {
  placeholder: 'pool-spec',
  help: 'pool specification: <pool-name>/<namespace> (default pool: rbd)',
  take: (words, options) => {
    const isNamed = options.namespace !== undefined;
    const word = isNamed && options.pool !== undefined ? undefined : words.shift();
    const invalid = /^(.*\/[^/]*)\//.exec(word ?? '')?.[1];
    if (invalid !== undefined) throw new FarsideError('EINVAL', `invalid pool '${invalid}'`);
    const spec = resolvePoolSpec(word, options);
    if (spec.namespace === '') throw new FarsideError('EINVAL', 'namespace name was not specified');
    return spec;
  },
};

/** A pool, which verbs that know no namespaces refuse to see with one. */
export const poolArgument: Argument<string> = {
  placeholder: 'pool-name',
  help: 'pool name (default: rbd)',
  take: (words, options) =>
    wholePool(resolvePoolSpec(options.pool === undefined ? words.shift() : undefined, { pool: options.pool })),
};

function wholePool(spec: PoolSpec): string {
  if (spec.namespace !== '') throw new FarsideError('EINVAL', `invalid pool '${spec.pool}/${spec.namespace}'`);
  return spec.pool;
}

/** A pool that has to be named: for verbs where a default would surprise. */
export const namedPoolArgument: Argument<string> = {
  placeholder: 'pool-name',
  help: 'pool name',
  take: (words, options) => {
    const word = options.pool ?? words.shift();
    if (word === undefined) throw new FarsideError('EINVAL', 'pool name was not specified');
    return wholePool(resolvePoolSpec(word, {}));
  },
};

/** Where a schedule hangs; named by options only, as in rbd. */
export const levelArgument: Argument<Level> = {
  placeholder: '',
  help: '',
  take: (_, options) => resolveLevel(options),
};

/** Free text that must be there; `missing` is what rbd says when it is not. */
export const textArgument = (placeholder: string, help: string, missing: string): Argument<string> => ({
  placeholder,
  help,
  take: (words) => {
    const word = words.shift();
    if (word === undefined) throw new FarsideError('EINVAL', missing);
    return word;
  },
});

export const optionalTextArgument = (placeholder: string, help: string): Argument<string | undefined> => ({
  placeholder: `[${placeholder}]`,
  help,
  take: (words) => words.shift(),
});

export const failureIdArgument = optionalTextArgument('failure-id', "one of 'farside queue ls' (default: all)");

export const lockIdArgument = textArgument('lock-id', 'unique lock id', 'lock id was not specified');

export const metaKeyArgument = textArgument('key', 'metadata key', 'metadata key was not specified');

/** An option of rbd; what is none is refused before anybody is asked, as rbd does. */
export const configKeyArgument = (level: OptionLevel): Argument<string> => ({
  placeholder: 'key',
  help: 'config key',
  take: (words) => {
    const word = words.shift();
    if (word === undefined) throw new FarsideError('EINVAL', 'config key was not specified');
    checkOptionName(word, level);
    return word;
  },
});

/** As rbd: one that is left out is the empty text. */
export const configValueArgument: Argument<string> = {
  placeholder: 'value',
  help: 'config value',
  take: (words) => words.shift() ?? '',
};

export const configEntityArgument = textArgument(
  'config-entity',
  'config entity (global, client)',
  'config entity was not specified',
);

/** A path, unless the command's own option `path` says it. */
export const pathArgument = (help: string, what: 'path' | 'token path' = 'path'): Argument<string> => ({
  placeholder: what === 'path' ? 'path-name' : 'token-path',
  help,
  take: (words, _, own) => {
    const word = typeof own['path'] === 'string' ? own['path'] : words.shift();
    if (word === undefined) throw new FarsideError('EINVAL', `${what} was not specified`);
    return word;
  },
});

/** All the words that are left. */
export const featuresArgument: Argument<string[]> = {
  placeholder: 'features...',
  help: 'image features: [layering, exclusive-lock, object-map, fast-diff, deep-flatten, journaling]',
  take: (words) => {
    const given = words.splice(0).join(',');
    if (given === '') throw new FarsideError('EINVAL', 'at least one feature name must be specified');
    const features = parseFeatureList(given);
    if (!features) throw new FarsideError('EPERM', 'the argument for option is invalid');
    return features;
  },
};

export const switchOption = (flags: string, help: string): Option<boolean> => ({
  flags,
  help,
  parse: (raw) => raw === true,
});

/** `--no-x`, of which commander makes `x`: false once it is given. */
export const negativeOption = (flags: string, help: string): Option<boolean> => ({
  flags,
  help,
  parse: (raw) => raw === false,
});

export const textOption = (flags: string, help: string): Option<string | undefined> => ({
  flags,
  help,
  parse: (raw) => (typeof raw === 'string' ? raw : undefined),
});

export const pathOption = textOption('--path <path>', 'file, instead of the argument');

export const imageIdOption = textOption('--image-id <image-id>', 'image id');
/** Instead of a spec. */
export const insteadOfSpec = { imageId: imageIdOption };

/** One of a fixed set of words; the help and the check use the same list. */
export function choiceOption<const C extends string>(
  flags: string,
  help: string,
  choices: readonly C[],
): Option<C | undefined> {
  return {
    flags,
    help: `${help} [${choices.join('|')}]`,
    parse: (raw) => {
      if (raw === undefined) return undefined;
      const choice = choices.find((one) => one === raw);
      if (choice === undefined) throw invalidOption(longFlag(flags));
      return choice;
    },
  };
}

/** A value that `parse` makes of the text; absent stays undefined. */
export const parsedOption = <T>(flags: string, help: string, parse: (text: string) => T): Option<T | undefined> => ({
  flags,
  help,
  parse: (raw) => (typeof raw === 'string' ? parse(raw) : undefined),
});

/** As `parsedOption`, of a list that may be given in parts. */
export const repeatedOption = <T>(flags: string, help: string, parse: (text: string) => T): Option<T | undefined> => ({
  ...parsedOption(flags, help, parse),
  joinedBy: ',',
});

export const objectSizeOption = parsedOption(
  '--object-size <size>',
  `object size in B/K/M: a power of two, ${formatBytes(objectBytesMin)} to ${formatBytes(objectBytesMax)}`,
  parseObjectBytes,
);

/** Zeros become holes in units of 4 KiB whatever is said here, so that it changes nothing. */
export const sparseSizeOption = parsedOption(
  '--sparse-size <size>',
  'sparse size in B/K/M: accepted; zeros always become holes of 4K',
  parseSparseBytes,
);

/** 1: the raw content. 2: an image with its snapshots. */
export const exportFormatOption = choiceOption('--export-format <format>', 'format of image file (default: 1)', [
  '1',
  '2',
]);

const snapIdMax = 999_999_999_999;

/** A plain number is bytes. */
export const bytesOption = (flags: string, help: string): Option<number | undefined> =>
  parsedOption(flags, help, parseIoBytes(longFlag(flags)));

export const integerOption = (
  flags: string,
  help: string,
  range: { min: number; max: number },
): Option<number | undefined> =>
  parsedOption(flags, help, (text) => {
    const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= range.min && value <= range.max)) throw invalidNumber(longFlag(flags), text);
    return value;
  });

/** Between two moments of an image. */
export const differenceOptions = {
  fromSnap: textOption('--from-snap <snap>', 'snapshot starting point (default: the creation of the image)'),
  fromSnapId: integerOption('--from-snap-id <id>', 'its id instead, as `snap ls` shows it', { min: 0, max: snapIdMax }),
  wholeObject: switchOption('--whole-object', 'compare whole object'),
};

export const compressionOption = choiceOption<Compression>(
  '--compression <when>',
  'compress blocks: auto does it where a probe says that it pays (default: by rbd_compression_hint, else auto)',
  ['auto', 'none'],
);

const longFlag = (flags: string): string => /--[a-z-]+/.exec(flags)?.[0] ?? flags;

/** Checked here, so that a slip is told before the site is asked. */
export const keepOption = parsedOption(
  '--keep <policy>',
  'how many hours, days, weeks, months, years: 24h,7d,4w,12m; or none',
  (text) => formatKeepPolicy(parseKeepPolicy(text)),
);

export function requireKeep(keep: string | undefined): string {
  if (keep === undefined) throw new FarsideError('EINVAL', 'must specify --keep <policy>, as in --keep 24h,7d,4w,12m');
  return keep;
}

/** Names any snapshot: those of mirroring too, which have no name that a spec could hold. */
export const snapIdOption = integerOption('--snap-id <id>', 'snapshot id, as `snap ls --all` shows it', {
  min: 0,
  max: snapIdMax,
});

/** The snapshot that a spec or `--snap-id` names. */
export function snapshotRefOf(spec: ImageSpec, snapId: number | undefined): { snap: string } | { snapId: number } {
  if (snapId === undefined) return { snap: requireSnap(spec).snap };
  if (spec.snap !== undefined) throw new FarsideError('EINVAL', 'trying to access snapshot using both name and id.');
  return { snapId };
}
