// Owns the words of rbd's command line: image, snapshot and pool specs, sizes. Pure: text in, value or EINVAL out.
//
// Every parser has an inverse (`formatSpec`, `formatBytes` for round sizes) that the property tests hold it to.

import { errnoOf, errnoText, FarsideError } from '../../errors.ts';
import type { ImageSpec } from '../../image/deps.ts';

export const poolDefault = 'rbd';

/** What a spec names; absent parts are undefined. The default namespace is the empty string. */
export type SpecParts = { pool?: string; namespace?: string; image?: string; snap?: string };

/** The general options that name something; they fill what a spec leaves open. */
export type SpecOptions = {
  pool?: string | undefined;
  namespace?: string | undefined;
  image?: string | undefined;
  snap?: string | undefined;
};

export type PoolSpec = { pool: string; namespace: string };
/** `[pool/[namespace/]]image-id` */
export type TrashSpec = PoolSpec & { id: string };
export type SnapSpec = ImageSpec & { snap: string };
/** A place where a schedule may hang: nothing named is the whole site. */
export type Level = { pool?: string; namespace?: string; image?: string };

const imageSpecPattern = /^(?:([^/@]+)\/(?:([^/@]+)\/)?)?([^/@]+)(?:@([^/@]+))?$/;
const poolSpecPattern = /^([^/@]+)(?:\/([^/@]+)?)?$/;

/** As rbd, which lets the names of what is there already hold anything; here nothing bears such a name. */
const laxSpecPattern = /^(?:([^/]+)\/(?:([^/@]+)\/)?)?([^@]+)(?:@(.+))?$/;

/** `[pool/[namespace/]]image[@snap]` */
export function parseImageSpec(text: string, pattern = imageSpecPattern): SpecParts {
  const match = pattern.exec(text);
  if (!match) throw new FarsideError('EINVAL', `invalid spec '${text}'`);
  return definedParts({ pool: match[1], namespace: match[2], image: match[3], snap: match[4] });
}

/** `pool[/namespace]`. ENOENT, as rbd: what no pool can be called, none is. */
export function parsePoolSpec(text: string): SpecParts {
  const match = poolSpecPattern.exec(text);
  if (match) return definedParts({ pool: match[1], namespace: match[2] });
  const pool = text.includes('/') ? text.slice(0, text.lastIndexOf('/')) : text;
  throw absent(`error opening pool '${pool}'`);
}

const absent = (what: string): FarsideError =>
  new FarsideError('ENOENT', `${what}: (${errnoOf.ENOENT}) ${errnoText.ENOENT}`);

export function formatSpec(spec: {
  pool: string;
  namespace: string;
  image: string;
  snap?: string | undefined;
}): string {
  const namespace = spec.namespace === '' ? '' : `${spec.namespace}/`;
  return `${spec.pool}/${namespace}${spec.image}${spec.snap === undefined ? '' : `@${spec.snap}`}`;
}

/** The image that a spec and the options name together. A part named by both must be the same in both. */
export const resolveImageSpec = (text: string | undefined, options: SpecOptions): ImageSpec =>
  resolveBy(imageSpecPattern, text, options);

/** As `resolveImageSpec`, of an image that is to be there: its parts may be names that nothing bears (`refuseOddNames`). */
export const resolvePresent = (text: string | undefined, options: SpecOptions): ImageSpec =>
  resolveBy(laxSpecPattern, text, options);

/** Texts that are empty name nothing. */
function resolveBy(pattern: RegExp, text: string | undefined, options: SpecOptions): ImageSpec {
  const parts = mergeParts(
    options.image ? parseImageSpec(options.image, pattern) : {},
    text ? parseImageSpec(text, pattern) : {},
  );
  const merged = mergeParts(
    definedParts({ pool: options.pool || undefined, namespace: options.namespace, snap: options.snap }),
    parts,
  );
  if (merged.image === undefined) throw new FarsideError('EINVAL', 'image name was not specified');
  return {
    pool: merged.pool ?? poolDefault,
    namespace: merged.namespace ?? '',
    image: merged.image,
    ...(merged.snap === undefined ? {} : { snap: merged.snap }),
  };
}

/** ENOENT for names that hold what no name may. */
export function refuseOddNames<S extends ImageSpec>(spec: S): S {
  const isOdd = (name: string | undefined): boolean => name !== undefined && /[/@]/.test(name);
  if (isOdd(spec.pool)) throw absent(`error opening pool '${spec.pool}'`);
  if (isOdd(spec.image)) throw absent(`error opening image ${spec.image}`);
  if (isOdd(spec.snap)) throw absent(`error opening snapshot ${spec.snap} of image ${spec.image}`);
  return spec;
}

export function requireSnap(spec: ImageSpec): SnapSpec {
  if (spec.snap === undefined) throw new FarsideError('EINVAL', 'snapshot name was not specified');
  return { ...spec, snap: spec.snap };
}

export function refuseSnap(spec: ImageSpec): ImageSpec {
  if (spec.snap !== undefined)
    throw new FarsideError('EINVAL', "snapshot name specified for a command that doesn't use it");
  return spec;
}

export function resolvePoolSpec(text: string | undefined, options: SpecOptions): PoolSpec {
  const merged = mergeParts(
    definedParts({ pool: options.pool || undefined, namespace: options.namespace }),
    text ? parsePoolSpec(text) : {},
  );
  return { pool: merged.pool ?? poolDefault, namespace: merged.namespace ?? '' };
}

/** The level that `-p` (which may hold a namespace too), `--namespace` and `--image` name; unlike elsewhere nothing named means the whole site. */
export function resolveLevel(options: SpecOptions): Level {
  const image = options.image === undefined ? {} : parseImageSpec(options.image);
  if (image.snap !== undefined || options.snap !== undefined)
    refuseSnap({ pool: '', namespace: '', image: '', snap: '' });
  if (image.pool !== undefined && options.pool !== undefined)
    throw new FarsideError('EINVAL', 'pool is specified both via pool and image options');
  if (image.pool !== undefined && options.namespace !== undefined)
    throw new FarsideError('EINVAL', 'namespace is specified both via namespace and image options');
  const inPool = options.pool === undefined ? {} : parsePoolSpec(options.pool);
  if (inPool.namespace !== undefined && options.namespace !== undefined)
    throw new FarsideError('EINVAL', 'namespace is specified both via namespace and pool options');
  const level = mergeParts(definedParts({ namespace: options.namespace || undefined, ...inPool }), image);
  if (level.pool === undefined && (level.namespace !== undefined || level.image !== undefined))
    level.pool = poolDefault;
  return level;
}

function mergeParts(options: SpecParts, spec: SpecParts): SpecParts {
  for (const part of ['pool', 'namespace', 'image', 'snap'] as const) {
    const [fromOption, fromSpec] = [options[part], spec[part]];
    if (fromOption === undefined || fromSpec === undefined || fromOption === fromSpec) continue;
    throw new FarsideError(
      'EINVAL',
      `${part} is specified twice: '${fromSpec}' in the spec and '${fromOption}' by option`,
    );
  }
  return { ...options, ...definedParts(spec) };
}

export function definedParts(parts: { [P in keyof SpecParts]: string | undefined }): SpecParts {
  return Object.fromEntries(Object.entries(parts).filter(([, value]) => value !== undefined));
}

/** Unit letters and the power of 1024 that each stands for. */
const unitPowers = { B: 0, K: 1, M: 2, G: 3, T: 4, P: 5, E: 6 } as const;
type Unit = keyof typeof unitPowers;

const sizePattern = /^(\d{1,16})([BKMGTPE])?(?:i?B)?$/i;

/** A size in bytes: digits and a unit letter; without one, `unitDefault`. EINVAL when malformed or beyond 2^53 - 1. */
function parseBytes(text: string, option: string, unitDefault: Unit): number {
  const match = sizePattern.exec(text);
  if (!match) throw invalidOption(option);
  const unit = (match[2]?.toUpperCase() ?? unitDefault) as Unit;
  const bytes = Number(match[1]) * 1024 ** unitPowers[unit];
  if (!Number.isSafeInteger(bytes)) throw invalidOption(option);
  return bytes;
}

/** `--size`: `10G`, `512M`, `1T`; a plain number is MiB, as in rbd. */
export const parseSizeBytes = (text: string): number => parseBytes(text, '--size', 'M');

/** `--io-size`, `--io-total`: a plain number is bytes. */
export const parseIoBytes =
  (option: string) =>
  (text: string): number =>
    parseBytes(text, option, 'B');

export const objectBytesMin = 4 * 1024;
export const objectBytesMax = 32 * 1024 * 1024;

/** `--object-size`: `4M`, `64K`, `4194304B`; a plain number is bytes. A power of two from 4 KiB to 32 MiB. */
export function parseObjectBytes(text: string): number {
  const bytes = parseBytes(text, '--object-size', 'B');
  if (bytes >= objectBytesMin && bytes <= objectBytesMax && (bytes & (bytes - 1)) === 0) return bytes;
  throw new FarsideError(
    'EINVAL',
    `object size must be a power of two between ${formatBytes(objectBytesMin)} and ${formatBytes(objectBytesMax)}`,
  );
}

/** `--sparse-size`: up to 32 MiB. */
export function parseSparseBytes(text: string): number {
  const bytes = parseBytes(text, '--sparse-size', 'B');
  if (bytes >= 1 && bytes <= objectBytesMax) return bytes;
  throw invalidOption('--sparse-size');
}

/** What rbd says about a value that an option cannot take. rbd exits 1 here, so the code is EPERM's number. */
export const invalidOption = (option: string): FarsideError =>
  new FarsideError('EPERM', `the argument for option '${option}' is invalid`);

/** The same, in its words for numbers. */
export const invalidNumber = (option: string, text: string): FarsideError =>
  new FarsideError('EPERM', `the argument ('${text}') for option '${option}' is invalid`);

const unitNames = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'] as const;

/** As Ceph's `byte_u_t`: `128 MiB`, `1.5 GiB`, `11 MiB`. */
export function formatBytes(bytes: number): string {
  let power = 0;
  while (power < unitNames.length - 1 && bytes >= 1024 ** (power + 1)) power += 1;
  return `${formatScaled(bytes, 1024 ** power)} ${unitNames[power]}`;
}

const scaledCharactersMax = 3;

/** Ceph prints whole multiples without decimals, and otherwise one decimal where three characters can hold it. */
function formatScaled(bytes: number, multiple: number): string {
  const value = bytes / multiple;
  if (bytes % multiple === 0) return String(value);
  const text = toDecimals(value, 1);
  return text.length <= scaledCharactersMax ? text : toDecimals(value, 0);
}

/** As C's printf, which rounds a tie to the even digit (`toFixed` rounds it up): 1.25 is `1.2`. */
function toDecimals(value: number, decimals: 0 | 1): string {
  const scaled = value * 10 ** decimals;
  const floor = Math.floor(scaled);
  const isUp = scaled - floor > 0.5 || (scaled - floor === 0.5 && floor % 2 === 1);
  return ((isUp ? floor + 1 : floor) / 10 ** decimals).toFixed(decimals);
}
