// Owns what operators and clients are in the habit of doing in a simulation: how often, by what an image is, and in which order
// when they have a plan for it.

import type { ImageTruth } from './truth/image-truth.ts';

/** What runs are about: a little of everything, images in use, images mirrored by their journals, or such taken over by force. */
export type Focus = 'everything' | 'writers' | 'journals' | 'takeovers';

/**
 * Shares: of images that are mirrored by their journals, of commands that begin a story, of runs at whose end every writer's epoch
 * ends, or something more is written. Factors: how much more is attached, and how many more replicas are promoted by force.
 */
export type Habits = {
  journalShare: number;
  storyShare: number;
  endedShare: number;
  writtenOnceMoreShare: number;
  writerFactor: number;
  takeoverFactor: number;
};

const usual: Habits = {
  journalShare: 0.25,
  storyShare: 0.12,
  endedShare: 0.6,
  writtenOnceMoreShare: 0.5,
  writerFactor: 1,
  takeoverFactor: 1,
};
const inJournals: Habits = {
  journalShare: 1,
  storyShare: 0.25,
  endedShare: 0,
  writtenOnceMoreShare: 0,
  writerFactor: 6,
  takeoverFactor: 1,
};

export const habitsOf: Record<Focus, Habits> = {
  everything: usual,
  writers: { ...usual, storyShare: 0.05, writerFactor: 5 },
  journals: inJournals,
  takeovers: { ...inJournals, takeoverFactor: 4 },
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
  | 'collect';

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

/** `of`: a clone of the image instead of itself. */
export type Step = { site: 'here' | 'there'; kind: Kind; of?: 'clone' };

/** What operators do about a whole image: plans for a failover, with things going on meanwhile. */
export const stories: Record<string, readonly Step[]> = {
  failover: [
    { site: 'here', kind: 'demote' },
    { site: 'there', kind: 'promote' },
    { site: 'there', kind: 'update' },
    { site: 'there', kind: 'mirror snapshot' },
  ],
  'there and back': [
    { site: 'here', kind: 'demote' },
    { site: 'there', kind: 'promote' },
    { site: 'there', kind: 'update' },
    { site: 'there', kind: 'demote' },
    { site: 'here', kind: 'promote' },
  ],
  disaster: [
    { site: 'there', kind: 'promote force' },
    { site: 'there', kind: 'update' },
    { site: 'here', kind: 'update' },
    { site: 'there', kind: 'mirror snapshot' },
    { site: 'here', kind: 'demote' },
    { site: 'here', kind: 'resync' },
  ],
  'wrong side wins': [
    { site: 'there', kind: 'promote force' },
    { site: 'there', kind: 'update' },
    { site: 'there', kind: 'snap create' },
    { site: 'here', kind: 'update' },
    { site: 'here', kind: 'mirror snapshot' },
    { site: 'there', kind: 'demote' },
    { site: 'there', kind: 'resync' },
  ],
  'a clone, from its making to its independence': [
    { site: 'here', kind: 'snap create' },
    { site: 'here', kind: 'mirror snapshot' },
    { site: 'here', kind: 'clone' },
    { site: 'here', kind: 'enable', of: 'clone' },
    { site: 'here', kind: 'update', of: 'clone' },
    { site: 'here', kind: 'snap rm' },
    { site: 'here', kind: 'mirror snapshot', of: 'clone' },
    { site: 'here', kind: 'collect' },
    { site: 'here', kind: 'flatten', of: 'clone' },
    { site: 'here', kind: 'mirror snapshot', of: 'clone' },
    { site: 'there', kind: 'collect' },
    { site: 'there', kind: 'collect', of: 'clone' },
  ],
  'a clone fails over, and is flattened there': [
    { site: 'here', kind: 'snap create' },
    { site: 'here', kind: 'mirror snapshot' },
    { site: 'here', kind: 'clone' },
    { site: 'here', kind: 'enable', of: 'clone' },
    { site: 'there', kind: 'promote force', of: 'clone' },
    { site: 'there', kind: 'update', of: 'clone' },
    { site: 'there', kind: 'flatten', of: 'clone' },
    { site: 'here', kind: 'demote', of: 'clone' },
    { site: 'here', kind: 'resync', of: 'clone' },
    { site: 'there', kind: 'mirror snapshot', of: 'clone' },
  ],
  'a writer, over which others fight': [
    { site: 'here', kind: 'attach' },
    { site: 'here', kind: 'mirror snapshot' },
    { site: 'here', kind: 'attach' },
    { site: 'there', kind: 'promote force' },
    { site: 'there', kind: 'attach' },
    { site: 'here', kind: 'demote' },
    { site: 'here', kind: 'collect' },
  ],
  'a snapshot that is protected for a while': [
    { site: 'here', kind: 'snap create' },
    { site: 'here', kind: 'snap protect' },
    { site: 'here', kind: 'mirror snapshot' },
    { site: 'here', kind: 'snap unprotect' },
    { site: 'here', kind: 'snap rm' },
  ],
  'two primaries': [
    { site: 'there', kind: 'promote force' },
    { site: 'here', kind: 'update' },
    { site: 'there', kind: 'update' },
    { site: 'here', kind: 'demote' },
  ],
};

/** The same for an image that is mirrored by its journal. */
export const journalStories: Record<string, readonly Step[]> = {
  'failover and failback': [
    { site: 'here', kind: 'attach' },
    { site: 'here', kind: 'demote' },
    { site: 'there', kind: 'promote' },
    { site: 'there', kind: 'attach' },
    { site: 'there', kind: 'demote' },
    { site: 'here', kind: 'promote' },
    { site: 'here', kind: 'attach' },
  ],
  disaster: [
    { site: 'here', kind: 'attach' },
    { site: 'there', kind: 'promote force' },
    { site: 'there', kind: 'attach' },
    { site: 'here', kind: 'demote' },
    { site: 'here', kind: 'resync' },
  ],
  'a false alarm': [
    { site: 'here', kind: 'attach' },
    { site: 'there', kind: 'promote force' },
    { site: 'here', kind: 'attach' },
    { site: 'there', kind: 'demote' },
    { site: 'there', kind: 'resync' },
    { site: 'here', kind: 'attach' },
  ],
  'events among the writes': [
    { site: 'here', kind: 'attach' },
    { site: 'here', kind: 'snap create' },
    { site: 'here', kind: 'resize' },
    { site: 'here', kind: 'meta set' },
    { site: 'here', kind: 'attach' },
    { site: 'here', kind: 'collect' },
    { site: 'there', kind: 'collect' },
  ],
  'a replica that is cut off': [
    { site: 'here', kind: 'attach' },
    { site: 'here', kind: 'journal disconnect' },
    { site: 'here', kind: 'attach' },
    { site: 'there', kind: 'resync' },
    { site: 'here', kind: 'attach' },
  ],
};
