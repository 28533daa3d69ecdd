// Owns what operators in a simulation do about a whole image, in order, when they have a plan: a failover, a clone's life, a writer
// over which others fight. Other things happen in between.

import type { Kind } from './habits.ts';

/** `of`: a clone of the image instead of itself. `thenMs`: so long nothing else begins. */
export type Step = { site: 'here' | 'there'; kind: Kind; of?: 'clone'; thenMs?: number };
export type Stories = Record<string, readonly Step[]>;

/** What operators do about a whole image: plans for a failover, with things going on meanwhile. */
export const stories: Stories = {
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
export const journalStories: Stories = {
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

/** The same, when the primary's site is given up while a writer is at work there: what was followed by then counts. */
export const takeoverStories: Stories = {
  'a primary lost in use': [
    { site: 'here', kind: 'attach', thenMs: 15_000 },
    { site: 'there', kind: 'promote force' },
    { site: 'there', kind: 'attach' },
    { site: 'here', kind: 'demote' },
    { site: 'here', kind: 'resync' },
  ],
  'a primary lost later': [
    { site: 'here', kind: 'attach', thenMs: 10_000 },
    { site: 'here', kind: 'collect', thenMs: 15_000 },
    { site: 'there', kind: 'promote force' },
    { site: 'here', kind: 'demote' },
    { site: 'there', kind: 'attach' },
  ],
};

/** Snapshots of an image whose writer has a hook, and of what comes after it. */
export const stillStories: Stories = {
  'a snapshot by a user': [
    { site: 'here', kind: 'attach', thenMs: 10_000 },
    { site: 'here', kind: 'snap create' },
    { site: 'here', kind: 'snap create' },
    { site: 'here', kind: 'collect' },
  ],
  'a mirror snapshot': [
    { site: 'here', kind: 'attach', thenMs: 5000 },
    { site: 'here', kind: 'mirror snapshot' },
    { site: 'there', kind: 'collect' },
    { site: 'here', kind: 'mirror snapshot' },
  ],
  'another writer takes it over': [
    { site: 'here', kind: 'attach', thenMs: 5000 },
    { site: 'here', kind: 'snap create', thenMs: 4000 },
    { site: 'here', kind: 'attach' },
    { site: 'here', kind: 'snap create' },
  ],
};

/** The same, where pools go into mode `pool` and out of it. */
export const featureStories: Stories = {
  'into the other mode of mirroring': [
    { site: 'here', kind: 'update' },
    { site: 'here', kind: 'disable' },
    { site: 'here', kind: 'enable' },
    { site: 'here', kind: 'update' },
    { site: 'here', kind: 'attach' },
    { site: 'here', kind: 'disable' },
    { site: 'here', kind: 'enable' },
    { site: 'there', kind: 'promote force' },
  ],
  'a failover that is tried out': [
    { site: 'here', kind: 'mirror snapshot' },
    { site: 'there', kind: 'test failover' },
    { site: 'here', kind: 'mirror snapshot' },
    { site: 'there', kind: 'collect' },
    { site: 'there', kind: 'test clean-up' },
  ],
};
