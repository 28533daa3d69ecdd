// Owns what operators and clients are in the habit of doing in a simulation: how often, by what an image is (plans: stories.ts).

import { featureStories, journalStories, stillStories, stories, takeoverStories, type Stories } from './stories.ts';
import type { ImageTruth } from './truth/image-truth.ts';

/**
 * What runs are about: a little of everything, images in use, images mirrored by their journals, such taken over by force, primaries lost in use, snapshots
 * of images whose writers hold still for them, or pools that mirror images for their features.
 */
export type Focus = 'everything' | 'writers' | 'journals' | 'takeovers' | 'losses' | 'stillness' | 'features';

/**
 * Shares: of images that are mirrored by their journals, of commands that begin a story, of runs at whose end every writer's epoch
 * ends, or something more is written. Factors: how much more is attached, and how many more replicas are promoted by force.
 */
export type Habits = {
  journalShare: number;
  /** Pools go into mode `pool` and out of it. */
  areModesSwitched: boolean;
  storyShare: number;
  /** How often the next command is the story's, while one is told. */
  storyFaith: number;
  endedShare: number;
  writtenOnceMoreShare: number;
  writerFactor: number;
  /** They write more, and longer. */
  areWritersPatient: boolean;
  /** Of writers, who have a hook. */
  hookShare: number;
  takeoverFactor: number;
  /** Between two commands, at most; one is drawn for a run. */
  pausesMaxMs: readonly number[];
  stories: Stories;
  /** Of images that are mirrored by their journals, and how often they are told one of these. */
  journalStories: Stories;
  journalStoryShare: number;
};

const usual: Habits = {
  journalShare: 0.25,
  areModesSwitched: false,
  storyShare: 0.12,
  storyFaith: 0.6,
  endedShare: 0.6,
  writtenOnceMoreShare: 0.5,
  writerFactor: 1,
  areWritersPatient: false,
  hookShare: 0,
  takeoverFactor: 1,
  pausesMaxMs: [3000, 20_000, 90_000],
  stories,
  journalStories,
  journalStoryShare: 0.7,
};
const inJournals: Habits = {
  journalShare: 1,
  areModesSwitched: false,
  storyShare: 0.25,
  storyFaith: 0.6,
  endedShare: 0,
  writtenOnceMoreShare: 0,
  writerFactor: 6,
  areWritersPatient: false,
  hookShare: 0,
  takeoverFactor: 1,
  pausesMaxMs: [3000, 20_000, 90_000],
  stories,
  journalStories,
  journalStoryShare: 0.7,
};

export const habitsOf: Record<Focus, Habits> = {
  everything: usual,
  writers: { ...usual, storyShare: 0.05, writerFactor: 5 },
  journals: inJournals,
  takeovers: { ...inJournals, takeoverFactor: 4 },
  losses: {
    ...inJournals,
    areWritersPatient: true,
    writerFactor: 1,
    takeoverFactor: 4,
    storyShare: 0.8,
    storyFaith: 0.9,
    pausesMaxMs: [20_000, 60_000],
    journalStories: takeoverStories,
    journalStoryShare: 1,
  },
  features: {
    ...usual,
    journalShare: 0.6,
    areModesSwitched: true,
    stories: { ...stories, ...featureStories },
  },
  stillness: {
    ...usual,
    storyShare: 0.8,
    storyFaith: 0.8,
    areWritersPatient: true,
    hookShare: 1,
    stories: stillStories,
    journalStories: stillStories,
  },
};

export type Kind =
  | 'create'
  | 'import'
  | 'update'
  | 'resize'
  | 'snap create'
  | 'snap rm'
  | 'snap rename'
  | 'snap protect'
  | 'snap unprotect'
  | 'snap rollback'
  | 'snap purge'
  | 'meta set'
  | 'meta rm'
  | 'rename'
  | 'rm'
  | 'enable'
  | 'disable'
  | 'disable force'
  | 'mirror snapshot'
  | 'promote'
  | 'promote force'
  | 'demote'
  | 'resync'
  | 'export'
  | 'clone'
  | 'flatten'
  | 'cp'
  | 'deep cp'
  | 'feature'
  | 'trash mv'
  | 'trash restore'
  | 'trash rm'
  | 'attach'
  | 'journal disconnect'
  | 'journal reset'
  | 'collect'
  | 'pool mode'
  | 'journaling'
  | 'test failover'
  | 'test clean-up';

/** How often, by what the image is. What makes no sense is tried now and then as well. */
export const weights: Record<
  ImageTruth['role'] | 'none' | 'split-brain' | 'in journal mode',
  Partial<Record<Kind, number>>
> = {
  none: { import: 6, create: 2, update: 0.2, demote: 0.1 },
  plain: {
    enable: 12,
    attach: 1.5,
    update: 3,
    resize: 1,
    'snap create': 1,
    'meta set': 1,
    rename: 0.5,
    rm: 0.5,
    collect: 1,
    import: 0.3,
    promote: 0.1,
    clone: 2,
    'snap rm': 0.5,
    cp: 0.7,
    'deep cp': 0.7,
    feature: 0.5,
    'trash mv': 1,
  },
  primary: {
    attach: 7,
    update: 10,
    resize: 2,
    'snap create': 4,
    'snap rm': 2,
    'snap rename': 1,
    'snap protect': 2,
    'snap unprotect': 2,
    'snap rollback': 2,
    'snap purge': 0.5,
    'meta set': 2,
    'meta rm': 2,
    rename: 1,
    rm: 0.3,
    disable: 0.3,
    'mirror snapshot': 10,
    demote: 1.5,
    export: 2,
    collect: 5,
    clone: 7,
    cp: 0.7,
    'deep cp': 0.7,
    feature: 1.5,
    'trash mv': 0.4,
    enable: 0.1,
    promote: 0.1,
    resync: 0.1,
    import: 0.1,
  },
  /** A primary. */
  'in journal mode': {
    attach: 14,
    update: 3,
    resize: 2,
    'snap create': 3,
    'snap rm': 1.5,
    'snap rename': 0.5,
    'snap rollback': 1.5,
    'meta set': 2,
    rename: 1,
    rm: 0.2,
    disable: 0.3,
    demote: 1.5,
    collect: 5,
    clone: 2,
    export: 1,
    feature: 0.5,
    'mirror snapshot': 0.2,
    'journal disconnect': 0.4,
    'journal reset': 0.5,
  },
  replica: {
    'promote force': 1,
    promote: 0.3,
    resync: 0.4,
    export: 2,
    collect: 4,
    clone: 0.7,
    cp: 0.5,
    'deep cp': 0.5,
    feature: 0.2,
    'trash mv': 0.2,
    update: 0.5,
    resize: 0.2,
    'snap create': 0.2,
    'snap rm': 0.2,
    'meta set': 0.2,
    rename: 0.2,
    rm: 0.2,
    demote: 0.1,
    'disable force': 0.15,
    'mirror snapshot': 0.2,
    'snap purge': 0.1,
    attach: 0.2,
  },
  demoted: {
    promote: 6,
    attach: 0.2,
    'promote force': 0.5,
    resync: 0.5,
    collect: 2,
    update: 0.5,
    'snap create': 0.2,
    demote: 0.1,
    'disable force': 0.1,
  },
  trashed: { 'trash restore': 6, 'trash rm': 2, 'snap purge': 1, update: 0.3, collect: 1, rm: 0.2 },
  creating: { update: 0.3, promote: 0.2, 'promote force': 0.2, rm: 0.2, collect: 0.5, resync: 0.2 },
  'split-brain': {
    resync: 10,
    collect: 3,
    promote: 0.3,
    'promote force': 0.5,
    demote: 3,
    update: 1,
    'snap rm': 1,
    'snap rename': 0.5,
  },
};

/** What is done more where a pool goes into mode `pool` and out of it. */
export const featureWeights: Partial<Record<Kind, number>> = { 'pool mode': 2.5, journaling: 5 };
/** And of replicas there. */
export const testWeights: Partial<Record<Kind, number>> = {
  'test failover': 1.5,
  'test clean-up': 0.5,
};
