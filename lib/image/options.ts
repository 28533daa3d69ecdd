// Owns rbd's configuration options as far as they mean something in farside: names, types, defaults, and which of the levels
// decides (image before pool before site, as in rbd). Pure. docs/options.md says what each one does, and which of
// rbd's have no meaning here.
//
// An override is kept as the text that it was set with. It is checked when it is set; one that does not parse later (an
// image's metadata may come from another site) counts as absent.

import { FarsideError } from '../errors.ts';
import type { Compression } from './format/codec.ts';
import { featureBits, featuresDefault, newImageFeatures, parseFeatureList, sharedFeatures } from './features.ts';

/** Where overrides may be set. `image`: metadata with the prefix `conf_`. */
export type OptionLevel = 'site' | 'pool' | 'image';
export type Overrides = Readonly<Record<string, string>>;
/** What each level overrides; `meta` is an image's metadata. */
export type OptionLevels = { site: Overrides; pool: Overrides; meta?: Overrides | undefined };

type OptionKind<T> = {
  default: T;
  /** The levels that have a say, the weakest first. */
  levels: readonly OptionLevel[];
  /** Throws or returns undefined for what is no value of this option. */
  parse(text: string): T | undefined;
  format(value: T): string;
  /** What values it takes, for the message of a refusal. */
  values: string;
};

const everywhere: readonly OptionLevel[] = ['site', 'pool', 'image'];
const beforeImages: readonly OptionLevel[] = ['site', 'pool'];

function uint(fallback: number, range: { min?: number; max?: number } = {}, levels = everywhere): OptionKind<number> {
  const { min = 0, max = 2 ** 32 - 1 } = range;
  return {
    default: fallback,
    levels,
    parse: (text) => {
      const value = /^\d{1,10}$/.test(text) ? Number(text) : -1;
      return value >= min && value <= max ? value : undefined;
    },
    format: String,
    values: `a whole number from ${min} to ${max}`,
  };
}

const truths: Readonly<Record<string, boolean>> = { true: true, yes: true, 1: true, false: false, no: false, 0: false };

const bool = (fallback: boolean, levels = everywhere): OptionKind<boolean> => ({
  default: fallback,
  levels,
  parse: (text) => (Object.hasOwn(truths, text) ? truths[text] : undefined),
  format: String,
  values: 'true or false',
});

const choice = <const C extends string>(fallback: C, choices: readonly C[]): OptionKind<C> => ({
  default: fallback,
  levels: everywhere,
  parse: (text) => choices.find((one) => one === text),
  format: String,
  values: choices.join(', '),
});

const definitions = {
  /** Primary mirror snapshots kept for a peer that does not catch up. */
  rbd_mirroring_max_mirroring_snapshots: uint(5, { min: 3, max: 1000 }),
  /** Seconds that a replica stays in the trash after its primary gave up mirroring. */
  rbd_mirroring_delete_delay: uint(0),
  /** Seconds that a segment has to be old before a replica takes it. */
  rbd_mirroring_replay_delay: uint(0),
  rbd_mirroring_resync_after_disconnect: bool(false),
  /** Segments that a replica may be behind before it is disconnected; 0: any number. */
  rbd_journal_max_concurrent_object_sets: uint(0),
  /** `rm` moves to the trash instead, for so many seconds. */
  rbd_move_to_trash_on_remove: bool(false),
  rbd_move_to_trash_on_remove_expire_seconds: uint(0),
  /** `rm` of an image that only clones hold moves it to the trash, until the last of them is gone. */
  rbd_move_parent_to_trash_on_remove: bool(false),
  /** Of new images. */
  rbd_default_features: {
    default: [...featuresDefault],
    levels: beforeImages,
    parse: (text) => parseFeatureList(text),
    format: (features) => String(featureBits(features)),
    values: 'feature names with commas between them, or their sum',
  } satisfies OptionKind<string[]>,
  rbd_default_order: uint(22, { min: 12, max: 25 }, beforeImages),
  rbd_default_data_pool: {
    default: '',
    levels: beforeImages,
    parse: (text) => (text.includes('/') ? undefined : text),
    format: String,
    values: 'the name of a pool, or nothing',
  } satisfies OptionKind<string>,
  /** `incompressible`: blocks are stored as they are; otherwise a probe decides. */
  rbd_compression_hint: choice('none', ['none', 'compressible', 'incompressible']),
};

export type OptionName = keyof typeof definitions;
type OptionValue<N extends OptionName> = (typeof definitions)[N]['default'];

export const optionNames = (Object.keys(definitions) as OptionName[]).toSorted();
const isOption = (name: string): name is OptionName => Object.hasOwn(definitions, name);

export const optionDefault = <N extends OptionName>(name: N): OptionValue<N> => definitions[name].default;

/** Metadata with this prefix overrides an option for one image. */
export const metaPrefix = 'conf_';

/** As sorted out by Ceph: `client` is more special than `global`. */
export const siteSections = ['global', 'client'] as const;
export type SiteSection = (typeof siteSections)[number];

/** rbd's words for the level that decided. */
export type OptionSource = 'config' | 'pool' | 'image';
const sources: Record<OptionLevel, OptionSource> = { site: 'config', pool: 'pool', image: 'image' };

type Found<T> = { value: T; source: OptionSource };

function find<N extends OptionName>(name: N, levels: OptionLevels): Found<OptionValue<N>> | undefined {
  const kind = definitions[name] as unknown as OptionKind<OptionValue<N>>;
  for (const level of kind.levels.toReversed()) {
    const text = textAt(name, level, levels);
    const value = text === undefined ? undefined : kind.parse(text);
    if (value !== undefined) return { value, source: sources[level] };
  }
  return undefined;
}

function textAt(name: OptionName, level: OptionLevel, levels: OptionLevels): string | undefined {
  if (level !== 'image') return own(levels[level], name);
  return levels.meta && own(levels.meta, metaPrefix + name);
}

const own = (overrides: Overrides, key: string): string | undefined =>
  Object.hasOwn(overrides, key) ? overrides[key] : undefined;

/** What the most special level says; undefined when none overrides the option. */
export const overridden = <N extends OptionName>(name: N, levels: OptionLevels): OptionValue<N> | undefined =>
  find(name, levels)?.value;

export const optionOf = <N extends OptionName>(name: N, levels: OptionLevels): OptionValue<N> =>
  overridden(name, levels) ?? optionDefault(name);

/** What may be asked of a new image; what is left open, options of its pool decide. */
export type AskedCreation = {
  objectBytes?: number | undefined;
  features?: readonly string[] | undefined;
  /** Without the features of a single client. */
  shared?: boolean | undefined;
  dataPool?: string | undefined;
};
export type Creation = { objectBytes: number; features: string[]; dataPool?: string };

/** EINVAL: features. Whether the data pool exists is the caller's to check. */
export function creationOf(asked: AskedCreation, pool: string, levels: OptionLevels): Creation {
  const features = asked.features ?? optionOf('rbd_default_features', levels);
  const dataPool = dataPoolOf(asked.dataPool, pool, levels);
  return {
    objectBytes: asked.objectBytes ?? 2 ** optionOf('rbd_default_order', levels),
    features: newImageFeatures(asked.shared === true ? sharedFeatures(features) : features, dataPool),
    ...(dataPool === undefined ? {} : { dataPool }),
  };
}

/** As in rbd, an image whose data are in its own pool has no data pool. */
export function dataPoolOf(asked: string | undefined, pool: string, levels: OptionLevels): string | undefined {
  const chosen = asked ?? optionOf('rbd_default_data_pool', levels);
  return chosen === '' || chosen === pool ? undefined : chosen;
}

/** How blocks are stored unless a command says otherwise. */
export const compressionDefault = (levels: OptionLevels): Compression =>
  optionOf('rbd_compression_hint', levels) === 'incompressible' ? 'none' : 'auto';

/** One row of rbd's `config pool list` and `config image list`. */
export type OptionRow = { name: string; value: string; source: OptionSource };

/** Every option that has a say at `level`, with the value that holds there. */
export function optionRows(level: 'pool' | 'image', levels: OptionLevels): OptionRow[] {
  return optionNames
    .filter((name) => definitions[name].levels.includes(level))
    .map((name) => {
      const found = find(name, levels);
      const kind = definitions[name] as unknown as OptionKind<unknown>;
      return { name, value: kind.format(found?.value ?? kind.default), source: found?.source ?? 'config' };
    });
}

/** Throws EINVAL unless `name` is an option that may be set at `level`; says why not. */
export function checkOptionName(name: string, level: OptionLevel): asserts name is OptionName {
  if (!name.startsWith('rbd_')) throw new FarsideError('EINVAL', `not rbd option: ${name}`);
  if (isOption(name)) {
    if (definitions[name].levels.includes(level)) return;
    throw new FarsideError('EINVAL', `${name} is about images that are yet to be made: set it for a pool or globally`);
  }
  const reason = meaningless.find(({ prefix }) => name.startsWith(prefix))?.reason;
  throw new FarsideError(
    'EINVAL',
    reason === undefined ? `invalid config key: ${name}` : `${name} means nothing in farside: ${reason}`,
  );
}

export function checkOption(name: string, value: string, level: OptionLevel): void {
  checkOptionName(name, level);
  if (definitions[name].parse(value) === undefined)
    throw new FarsideError('EINVAL', `invalid value '${value}' of ${name}: it takes ${definitions[name].values}`);
}

/** Metadata is free text but for overrides of options. */
export function checkMetaOption(key: string, value: string): void {
  if (key.startsWith(metaPrefix)) checkOption(key.slice(metaPrefix.length), value, 'image');
}

/** Options of rbd and rbd-mirror that a script may set, by the beginning of their names; the first that fits tells why they are refused. */
const meaningless: readonly { prefix: string; reason: string }[] = [
  { prefix: 'rbd_journal_', reason: 'segments are cut by size and age, wherever their image is' },
  {
    prefix: 'rbd_mirror_concurrent_image_',
    reason: 'no daemon grants slots; how many images are copied at once is up to the queue of the site',
  },
  { prefix: 'rbd_mirror_leader_', reason: 'there is no daemon, so none is elected' },
  { prefix: 'rbd_mirror_image_policy_', reason: 'there are no daemons to share images out among' },
  { prefix: 'rbd_mirror_', reason: 'it tunes the rbd-mirror daemon, which farside does without' },
  { prefix: 'rbd_qos_', reason: 'there is no librbd in the way of the data that could be throttled' },
  { prefix: 'rbd_cache', reason: 'there is no librbd cache' },
  { prefix: 'rbd_concurrent_management_ops', reason: 'operations on an image are one swap, not work on its objects' },
];
