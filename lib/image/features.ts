// Owns the features of an image: their names, rbd's numbers for them, and what needs what. Pure. In farside most of them are
// marks that other tools look for: the map of an image does what object-map and fast-diff do, always.

import { FarsideError } from '../errors.ts';

/** In the order in which rbd shows them, which is that of their bits. */
const bits = {
  layering: 1,
  striping: 2,
  'exclusive-lock': 4,
  'object-map': 8,
  'fast-diff': 16,
  'deep-flatten': 32,
  journaling: 64,
  'data-pool': 128,
  operations: 256,
  migrating: 512,
  'non-primary': 1024,
} as const;
export type Feature = keyof typeof bits;

const names = Object.keys(bits) as Feature[];
const isFeature = (name: string): name is Feature => Object.hasOwn(bits, name);

export const featuresDefault: readonly Feature[] = [
  'layering',
  'exclusive-lock',
  'object-map',
  'fast-diff',
  'deep-flatten',
];

/** rbd's number for a set of features. */
export const featureBits = (features: readonly string[]): number =>
  features.reduce((sum, name) => sum + (isFeature(name) ? bits[name] : 0), 0);

/** The features of rbd's number; bits that have no name are left out. */
export const featuresOf = (mask: number): Feature[] => names.filter((name) => (mask & bits[name]) !== 0);

/** Each once, in rbd's order. Throws EINVAL for a name that is none. */
export function sortedFeatures(features: readonly string[]): Feature[] {
  const unknown = features.find((name) => !isFeature(name));
  if (unknown !== undefined) throw new FarsideError('EINVAL', `unknown image feature '${unknown}'`);
  return names.filter((name) => features.includes(name));
}

/** `layering,exclusive-lock` or `5`; undefined when it is neither. */
export function parseFeatureList(text: string): Feature[] | undefined {
  if (/^\d{1,4}$/.test(text)) {
    const features = featuresOf(Number(text));
    return featureBits(features) === Number(text) ? features : undefined;
  }
  const listed = text.split(',').map((name) => name.trim());
  return listed.every(isFeature) ? sortedFeatures(listed) : undefined;
}

/** Set by what is done to an image, never by asking for them. */
const internal: ReadonlySet<Feature> = new Set(['operations', 'migrating', 'non-primary']);
/** rbd's for images that several clients write at once. */
const singleClient: readonly Feature[] = ['exclusive-lock', 'object-map', 'fast-diff', 'journaling'];

const einval = (message: string): FarsideError => new FarsideError('EINVAL', message);

/** Those that an image gets by what is done to it, no clone or copy has from it. */
const own: ReadonlySet<string> = new Set(['journaling', 'striping', 'data-pool', ...internal]);

export const inheritedFeatures = (features: readonly string[]): string[] => features.filter((name) => !own.has(name));

/** `--image-shared` */
export const sharedFeatures = (features: readonly string[]): string[] =>
  features.filter((name) => !singleClient.some((single) => single === name));

/**
 * The features of a new image for which these were asked. EINVAL: one needs another. `striping` and
 * `data-pool` follow from other choices, as in rbd.
 */
export function newImageFeatures(asked: readonly string[], dataPool?: string): Feature[] {
  const features = sortedFeatures(asked);
  if (features.some((name) => internal.has(name))) throw einval('cannot use internally controlled features');
  const has = (name: Feature): boolean => features.includes(name);
  if (has('fast-diff') && !has('object-map')) throw einval('cannot use fast diff without object map');
  if (has('object-map') && !has('exclusive-lock')) throw einval('cannot use object map without exclusive lock');
  if (has('journaling') && !has('exclusive-lock')) throw einval('cannot use journaling without exclusive lock');
  return withDataPool(features, dataPool);
}

/** A replica has the features of its primary, but a data pool of its own. */
export const withDataPool = (features: readonly string[], dataPool: string | undefined): Feature[] =>
  sortedFeatures([
    ...features.filter((name) => isFeature(name) && name !== 'data-pool' && name !== 'striping'),
    ...(dataPool === undefined ? [] : ['data-pool']),
  ]);

/** Mirroring by the journal turns it on, with what it needs; giving mirroring up turns it off. */
export const withJournaling = (features: readonly string[]): Feature[] =>
  sortedFeatures([...features, 'exclusive-lock', 'journaling']);
export const withoutJournaling = (features: readonly string[]): Feature[] =>
  sortedFeatures(features.filter((name) => name !== 'journaling'));

const mutable: readonly Feature[] = ['exclusive-lock', 'object-map', 'fast-diff', 'journaling'];
const disableOnly: readonly Feature[] = ['deep-flatten'];
/** Enabled and disabled together. */
const mapFeatures: readonly Feature[] = ['object-map', 'fast-diff'];

/** `feature enable` and `feature disable`. EINVAL with rbd's reasons. */
export function updatedFeatures(
  current: readonly string[],
  asked: readonly string[],
  action: 'enable' | 'disable',
): Feature[] {
  if (asked.length === 0) throw einval('update requires at least one feature');
  const names = sortedFeatures(asked);
  const allowed = action === 'enable' ? mutable : [...mutable, ...disableOnly];
  if (!names.every((name) => allowed.includes(name))) throw einval('cannot update immutable features');
  if (names.some((name) => current.includes(name) === (action === 'enable')))
    throw einval(`one or more requested features are already ${action}d`);
  return action === 'enable' ? enabled(current, names) : disabled(current, names);
}

function enabled(current: readonly string[], names: readonly Feature[]): Feature[] {
  const joined = names.some((name) => mapFeatures.includes(name)) ? [...names, ...mapFeatures] : names;
  const next = sortedFeatures([...current, ...joined]);
  for (const name of ['object-map', 'journaling'] as const) {
    if (joined.includes(name) && !next.includes('exclusive-lock'))
      throw einval(`cannot enable ${name}. exclusive-lock must be enabled before enabling ${name}.`);
  }
  return next;
}

function disabled(current: readonly string[], names: readonly Feature[]): Feature[] {
  const gone = names.some((name) => mapFeatures.includes(name)) ? [...names, ...mapFeatures] : names;
  const next = sortedFeatures(current).filter((name) => !gone.includes(name));
  const needsLock = next.includes('object-map') || next.includes('journaling');
  if (gone.includes('exclusive-lock') && needsLock)
    throw einval(
      'cannot disable exclusive-lock. object-map or journaling must be disabled before disabling exclusive-lock.',
    );
  return next;
}
