// Which mirror snapshots are kept, by example; that nothing needed goes is proved in roles-exhaustive.test.ts.

import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { MirrorSnapshot, Snapshot } from '../../lib/image/header.ts';
import {
  claimTarget,
  forgetPeer,
  losesHead,
  pruned,
  snapshotsLostByResync,
  snapshotsToPrune,
  snapshotsToUnlink,
  unlinkPeer,
  withPeerSets,
} from '../../lib/mirror/roles/retention.ts';
import { mirrorSnapshot } from './role-model.ts';

const primary = (id: number, ...mirrorPeerUuids: string[]): MirrorSnapshot =>
  mirrorSnapshot({ id, state: 'primary', mirrorPeerUuids });
const demoted = (id: number, ...mirrorPeerUuids: string[]): MirrorSnapshot =>
  mirrorSnapshot({ id, state: 'primary-demoted', mirrorPeerUuids });
const copy = (id: number, primarySnapId: number, ...mirrorPeerUuids: string[]): MirrorSnapshot =>
  mirrorSnapshot({
    id,
    state: 'non-primary',
    primaryMirrorUuid: 'there',
    primarySnapId,
    mirrorPeerUuids,
    hash: `content ${primarySnapId}`,
  });
const marker = (id: number): MirrorSnapshot => mirrorSnapshot({ id, state: 'non-primary', primaryMirrorUuid: '' });
const mirrors = (snapshots: readonly Snapshot[]): MirrorSnapshot[] => snapshots as MirrorSnapshot[];

describe('the cap on a creation', () => {
  test('below the cap nothing is unlinked', () => {
    expect(snapshotsToUnlink([primary(1, 'p'), primary(2, 'p'), primary(3, 'p'), primary(4, 'p')], ['p'])).toEqual([]);
  });

  test('at the cap the newest one goes and the oldest stay, as rbd does it', () => {
    const list = [5, 10, 12, 13, 15].map((id) => primary(id, 'p'));
    expect(snapshotsToUnlink(list, ['p'])).toEqual([{ snapId: 15, mirrorPeerUuids: [] }]);
  });

  test('each peer is counted for itself', () => {
    const list = [primary(1, 'slow'), primary(2, 'slow'), primary(3, 'slow', 'fast')];
    expect(snapshotsToUnlink(list, ['slow', 'fast'], 3)).toEqual([{ snapId: 3, mirrorPeerUuids: ['fast'] }]);
  });

  test('only snapshots since the last change of role count', () => {
    const list = [primary(1, 'p'), primary(2, 'p'), demoted(3, 'p'), primary(4, 'p'), primary(5, 'p')];
    expect(snapshotsToUnlink(list, ['p'], 3)).toEqual([]);
  });

  test('a cap below three counts as three: the link and the target of a peer must be safe', () => {
    expect(snapshotsToUnlink([primary(1, 'p'), primary(2, 'p')], ['p'], 1)).toEqual([]);
  });
});

describe('acknowledgements and claims', () => {
  test('an acknowledgement lets go of everything older, for that peer', () => {
    const list = [primary(1, 'p', 'q'), primary(2, 'p'), primary(3, 'p')];
    expect(unlinkPeer(list, 'p', 3)).toEqual([
      { snapId: 1, mirrorPeerUuids: ['q'] },
      { snapId: 2, mirrorPeerUuids: [] },
    ]);
  });

  test('an old acknowledgement that comes again changes nothing', () => {
    expect(unlinkPeer([primary(3, 'p'), primary(4, 'p')], 'p', 1)).toEqual([]);
  });

  test('a claim keeps the link and the target, and what came after', () => {
    const list = [1, 2, 3, 4, 5].map((id) => primary(id, 'p'));
    expect(claimTarget(list, 'p', { linkSnapId: 1, targetSnapId: 4 })).toEqual([
      { snapId: 2, mirrorPeerUuids: [] },
      { snapId: 3, mirrorPeerUuids: [] },
    ]);
  });

  test('a claim by a peer that came later lists it', () => {
    expect(claimTarget([copy(1, 9), primary(2)], 'p', { linkSnapId: 1, targetSnapId: 2 })).toEqual([
      { snapId: 2, mirrorPeerUuids: ['p'] },
      { snapId: 1, mirrorPeerUuids: ['p'] },
    ]);
  });

  test('a claim of a snapshot that is gone, or holds nothing, is refused; of a copy it is not', () => {
    expect(claimTarget([primary(2, 'p')], 'p', { targetSnapId: 1 })).toBeUndefined();
    expect(claimTarget([marker(1)], 'p', { targetSnapId: 1 })).toBeUndefined();
    expect(claimTarget([copy(1, 9)], 'p', { targetSnapId: 1 })).toEqual([{ snapId: 1, mirrorPeerUuids: ['p'] }]);
  });

  test('after a claim no number of snapshots without acknowledgement touches link or target', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 8 }),
        fc.integer({ min: 0, max: 20 }),
        fc.integer({ min: 3, max: 6 }),
        (before, more, max) => {
          let list = [copy(1, 9, 'p')];
          const take = (): void => {
            const capped = withPeerSets(list, snapshotsToUnlink(list, ['p'], max));
            list = mirrors(pruned([...capped, primary(capped.at(-1)!.id + 1, 'p')]));
          };
          for (let index = 0; index < before; index++) take();
          const targetSnapId = list.at(-1)!.id;
          list = mirrors(pruned(withPeerSets(list, claimTarget(list, 'p', { linkSnapId: 1, targetSnapId })!)));
          for (let index = 0; index < more; index++) take();
          expect(list.map((s) => s.id)).toEqual(expect.arrayContaining([1, targetSnapId]));
          expect(list.length).toBeLessThanOrEqual(max + 1);
        },
      ),
    );
  });

  test('a forgotten peer is listed nowhere', () => {
    const list = [copy(1, 9, 'p'), primary(2, 'p', 'q')];
    expect(forgetPeer(list, 'p')).toEqual([
      { snapId: 1, mirrorPeerUuids: [] },
      { snapId: 2, mirrorPeerUuids: ['q'] },
    ]);
  });
});

describe('pruning', () => {
  test.each([
    [
      'a primary drops what no peer needs, and never the newest',
      [primary(1), primary(2, 'p'), primary(3), primary(4)],
      [1, 3],
    ],
    ['a replica keeps its newest copy only', [copy(1, 1), copy(2, 2), copy(3, 3)], [1, 2]],
    [
      'a replica drops its own old snapshots, unless another peer needs them',
      [primary(1), demoted(2, 'q'), copy(3, 3)],
      [1],
    ],
    [
      'a demoted image keeps the copy it came from while a peer does',
      [copy(1, 1, 'p'), primary(2, 'p'), demoted(3, 'p')],
      [],
    ],
    [
      'a promoted image keeps the copy it came from until its peers have more',
      [copy(1, 1, 'p'), marker(2), primary(3, 'p')],
      [2],
    ],
    ['then the copy goes', [copy(1, 1), primary(3, 'p')], [1]],
    ['without peers it keeps the copy for a peer that may come', [copy(1, 1), primary(2), primary(3)], [2]],
    ['an empty list has nothing to prune', [], []],
  ])('%s', (_, list, gone) => {
    expect(snapshotsToPrune(list)).toEqual(gone);
  });

  test('user snapshots are never touched, and order stays', () => {
    const user: Snapshot = { ...primary(2), name: 'u', namespace: { type: 'user' } };
    expect(pruned([primary(1), user, primary(3)]).map((s) => s.id)).toEqual([2, 3]);
    expect(withPeerSets([user], [{ snapId: 2, mirrorPeerUuids: ['p'] }])).toEqual([user]);
  });
});

describe('what a resync drops', () => {
  const remote = { mirrorUuid: 'there', snapshots: [primary(4), primary(5)] };

  test('everything after the last shared point, and the head with it', () => {
    const here = { mirrorUuid: 'here', snapshots: [copy(1, 4), marker(2), primary(3), demoted(9)] };
    expect(snapshotsLostByResync(here, remote, 5)).toEqual([2, 3, 9]);
    expect(losesHead(here, remote, 5)).toBe(true);
  });

  test('nothing, when the histories had not diverged', () => {
    const here = { mirrorUuid: 'here', snapshots: [copy(1, 4)] };
    expect(snapshotsLostByResync(here, remote, 5)).toEqual([]);
    expect(losesHead(here, remote, 5)).toBe(false);
  });

  test('everything, when nothing is shared up to the target', () => {
    const here = { mirrorUuid: 'here', snapshots: [copy(1, 5)] };
    expect(snapshotsLostByResync(here, remote, 4)).toEqual([1]);
    expect(losesHead(here, remote, 4)).toBe(true);
  });
});
