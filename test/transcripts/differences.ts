// Where farside says something else than was recorded, and why that is meant. Each entry has to occur: one that no longer does is
// a failure, as is a difference that is not here. What any two runs differ in (ids, times, hosts) is in identities.ts.

import type { Difference } from './compare.ts';
import type { RecordingName } from './recording.ts';

export type Permitted = { what: string; why: string; is(difference: Difference): boolean };

const at = (
  difference: Difference,
  recording: RecordingName,
  ...steps: (number | readonly [number, number])[]
): boolean =>
  difference.step.recording === recording &&
  steps.some((step) => {
    const [first, last] = typeof step === 'number' ? [step, step] : step;
    return difference.step.n >= first && difference.step.n <= last;
  });

const onlyHere = ({ expected }: Difference): boolean => expected === undefined;
const says = ({ step }: Difference, words: string): boolean => step.line.includes(words);
const text = ({ expected, actual }: Difference): string => expected ?? actual ?? '';

export const permitted: readonly Permitted[] = [
  {
    what: 'an error has a second line',
    why: 'rbd leaves the reason to a log, or says none. farside says why, and what to do.',
    is: (d) =>
      d.where === 'stderr' &&
      onlyHere(d) &&
      d.step.exitCode !== 0 &&
      !/^farside: (?:unknown|unrecognised)/.test(text(d)),
  },
  {
    what: '`mirror pool info` shows the mirror uuid and the remote namespace',
    why: 'Newer releases than the recorded one show them, after the site name.',
    is: (d) =>
      says(d, 'mirror pool info') &&
      onlyHere(d) &&
      (['$.mirror_uuid', '$.remote_namespace'].includes(d.where) ||
        /^Mirror UUID: [0-9a-f-]{36}$|^Remote Namespace: /.test(text(d))),
  },
  {
    what: 'the mirror uuid of a peer is known at once',
    why: 'With Ceph it is empty until a daemon first speaks to the peer. Sites exchange it when they are introduced.',
    is: (d) =>
      (says(d, 'mirror pool info') &&
        (text(d).startsWith('Mirror UUID: ') || d.where.endsWith('peers[0].mirror_uuid'))) ||
      // And with it the peer is among the sites that a status is about.
      (at(d, 'a-pool', [88, 89], [97, 98], [110, 111]) &&
        onlyHere(d) &&
        /peer_sites|^line {2}(?:name: site-b|state: down|description: status not|last_update: $)/.test(
          d.where + text(d),
        )),
  },
  {
    what: 'a site is called by the name that it was started with',
    why: 'A cluster without a name is called by its fsid. A farside site always has a name.',
    is: (d) => at(d, 'a-pool', 23, 24) && /^Site Name: |^"/.test(text(d)) && /line|site_name/.test(d.where),
  },
  {
    what: 'a command that fails changes nothing',
    why: 'Measured of rbd: a failed import has set the site name, a failed enabling has switched the journaling feature on, for good.',
    is: (d) =>
      (at(d, 'a-pool', [58, 121]) && (text(d).startsWith('Site Name: ') || d.where === '$.site_name')) ||
      (at(d, 'a2-pool-peers-disable', 6) && text(d).startsWith('Site Name: ')) ||
      (at(d, 'b-image', 69, 70, 209) &&
        /^\t(?:features|journal|mirroring state: disabled)|"journaling"/.test(text(d))) ||
      (at(d, 'b-image', 70) && d.where === '$.journal'),
  },
  {
    what: 'keys of peers are farside’s own',
    why: 'A recorded cephx key is blanked. Those of farside are made for each pair of sites, and shown to an admin.',
    is: (d) => says(d, '--all') && text(d).startsWith('Key: '),
  },
  {
    what: 'a site that is added as a peer, and that the CLI knows, is introduced at once',
    why: 'With Ceph its address and key are in files of a daemon, and pool info shows neither.',
    is: (d) => at(d, 'a2-pool-peers-disable', 23, 24) && /Mon Host: |mon_host|key/.test(d.where + text(d)),
  },
  {
    what: 'disabling a pool stops the mirroring of no image in passing',
    why: 'Measured: a pool that is switched to mode pool and disabled gives up all its snapshot-mode images, without a word. farside refuses, as in mode image.',
    is: (d) =>
      at(d, 'a2-pool-peers-disable', [34, 36]) ||
      (at(d, 'a2-pool-peers-disable', 37) && text(d).includes('from pool to image')),
  },
  {
    what: 'an import that cannot be is refused before the other site is asked',
    why: 'A pool that has its peer already needs no look at the token’s site.',
    is: (d) => at(d, 'a-pool', 49) && d.where === 'reason',
  },
  {
    what: 'a peer that does not exist',
    why: 'rbd says so twice, in its own words and in its log.',
    is: (d) => at(d, 'a-pool', 75) && d.where === 'reason',
  },
  {
    what: 'a token is checked before it is used',
    why: 'rbd reads any fields and finds out when it connects.',
    is: (d) => at(d, 'a-pool', 48) && d.where === 'reason',
  },
  {
    what: 'a one-way peer is known to both sides at once',
    why: 'With Ceph the sending side learns of it when the receiving daemon first speaks to it.',
    is: (d) => at(d, 'a2-pool-peers-disable', 11, 12),
  },
  {
    what: 'status is that of now',
    why: 'Measured: the daemon publishes status each 30 s, so that for up to half a minute it is not there, or stale.',
    is: (d) => at(d, 'b-image', 33) && /state$|description$|last_update$|daemon_service$/.test(d.where),
  },
  {
    what: 'a replica is there at once',
    why: 'Measured: seconds pass before the daemon looks. farside wakes the peer.',
    is: (d) => at(d, 'b-image', 34),
  },
  {
    what: 'mirror snapshots that every peer has are gone at once',
    why: 'rbd-mirror unlinks them late and rbd removes them at the next snapshot. A farside replica is quicker than the recorded looks, and acknowledges.',
    is: (d) =>
      at(d, 'b-image', [69, 80], 121, [130, 135], 199) &&
      /\.mirror\.(?:non_)?primary\.|snapshot_count: \d|trash \(/.test(text(d)),
  },
  {
    what: 'the number of snapshots',
    why: 'The same in JSON.',
    is: (d) => at(d, 'b-image', 70) && d.where === '$.snapshot_count',
  },
  {
    what: 'when a snapshot is due is known at once',
    why: 'Ceph’s manager looks at the images once a minute; until then its status is empty.',
    is: (d) => at(d, 'b-image', [162, 167], 197, 198) && /^SCHEDULE TIME {2}IMAGE *$|mirror\/s1/.test(text(d)),
  },
  {
    what: 'an image that cannot be replicated because of its name counts at the primary only',
    why: 'There it is an error of the secondary. rbd-mirror also counts it at the secondary, as unknown, and does not say which image it is.',
    is: (d) => at(d, 'b-image', 222, 223),
  },
  {
    what: 'a name that is taken is called that',
    why: 'rbd-mirror calls it split-brain, though no history has diverged.',
    is: (d) => at(d, 'b-image', 220, 221) && /split-brain detected|name clash/.test(text(d)),
  },
  {
    what: 'why a replica cannot be removed',
    why: 'rbd supposes a client that has crashed. farside says that mirroring uses it, and what to do.',
    is: (d) => at(d, 'b-image', 92) && (d.where === 'reason' || text(d).startsWith('This means')),
  },
  {
    what: 'who reads an image is no watcher',
    why: 'rbd-mirror at the other site has the primary open for reading, and so had the command before. Here reading holds nothing open.',
    is: (d) => (at(d, 'b-image', 105) && d.actual === undefined) || at(d, 'b-image', 106),
  },
];

export type Pending = {
  what: string;
  recording: RecordingName;
  steps: readonly (number | readonly [number, number])[];
};

/** What farside does not have yet, and what follows from its absence in the rest of a recording. */
export const pending: readonly Pending[] = [];

export const isOf = (difference: Difference, { recording, steps }: Pending): boolean =>
  at(difference, recording, ...steps);

export const isPending = (difference: Difference): boolean => pending.some((entry) => isOf(difference, entry));
