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
