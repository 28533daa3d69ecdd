// Examples of every decision, one by one; the rules over all histories are in roles-exhaustive.test.ts.

import { describe, expect, test } from 'vitest';
import type { MirrorSnapshot } from '../../lib/image/header.ts';
import { relationOf } from '../../lib/mirror/roles/history.ts';
import { decideSync, promotionState, stopStatus } from '../../lib/mirror/roles/roles.ts';
import type { Decision, LocalView, RemoteView } from '../../lib/mirror/roles/roles.ts';
import { mirrorSnapshot } from './role-model.ts';

type Image = NonNullable<LocalView['image']>;

const [here, there, elsewhere, ourUuid] = ['uuid-here', 'uuid-there', 'uuid-elsewhere', 'peer-us'];
const primary = (id: number, mirrorPeerUuids: string[] = [ourUuid]): MirrorSnapshot =>
  mirrorSnapshot({ id, state: 'primary', mirrorPeerUuids });
const demoted = (id: number, mirrorPeerUuids: string[] = [ourUuid]): MirrorSnapshot =>
  mirrorSnapshot({ id, state: 'primary-demoted', mirrorPeerUuids });
const copy = (
  id: number,
  primaryMirrorUuid: string,
  primarySnapId: number,
  hash = `content ${primarySnapId}`,
): MirrorSnapshot => mirrorSnapshot({ id, state: 'non-primary', primaryMirrorUuid, primarySnapId, hash });
const demotedCopy = (id: number, primaryMirrorUuid: string, primarySnapId: number, complete = true): MirrorSnapshot =>
  mirrorSnapshot({
    id,
    state: 'non-primary-demoted',
    primaryMirrorUuid,
    primarySnapId,
    hash: `content ${primarySnapId}`,
    complete,
  });
const marker = (id: number): MirrorSnapshot => mirrorSnapshot({ id, state: 'non-primary', primaryMirrorUuid: '' });

const image = (snapshots: MirrorSnapshot[], fields: Partial<Image> = {}): Image => ({
  state: 'enabled',
  resyncRequested: false,
  snapshots,
  ...fields,
});
const remote = (...snapshots: MirrorSnapshot[]): RemoteView => ({
  kind: 'present',
  mirrorUuid: there,
  state: 'enabled',
  snapshots,
});
const decide = (local: Image | undefined, other: RemoteView, nameTaken = false): Decision =>
  decideSync({ local: { mirrorUuid: here, peerUuid: ourUuid, image: local, nameTaken }, remote: other });
const stopped = (reason: keyof typeof stopStatus): object => ({ kind: 'stop', reason, ...stopStatus[reason] });

describe('promotion state', () => {
  const cases: [string, MirrorSnapshot[], ReturnType<typeof promotionState>][] = [
    ['none: unknown', [], 'unknown'],
    ['PRIMARY: primary', [copy(1, there, 1), primary(2)], 'primary'],
    ['PRIMARY_DEMOTED: orphan', [primary(1), demoted(2)], 'orphan'],
    ['NON_PRIMARY: non-primary', [demoted(1), copy(2, there, 1)], 'non-primary'],
    ['NON_PRIMARY_DEMOTED, complete: orphan', [demotedCopy(1, there, 1)], 'orphan'],
    ['NON_PRIMARY_DEMOTED, incomplete: non-primary', [demotedCopy(1, there, 1, false)], 'non-primary'],
    ['the marker of a forced promotion: orphan', [copy(1, there, 1), marker(2)], 'orphan'],
  ];
  test.each(cases)('the newest mirror snapshot decides; %s', (_, snapshots, state) => {
    expect(promotionState(snapshots)).toBe(state);
    expect(promotionState(snapshots.toReversed())).toBe(state);
  });
});

describe('without a local image', () => {
  test('a primary at the remote is copied from its newest snapshot', () => {
    expect(decide(undefined, remote(primary(1), primary(2)))).toEqual({
      kind: 'sync',
      create: true,
      targetSnapId: 2,
      demoted: false,
      resync: false,
      continues: false,
    });
  });

  test.each([
    ['a demoted remote is not copied', remote(primary(1), demoted(2)), stopped('remote-not-primary')],
    ['a replica of our own lost image is not copied', remote(copy(1, here, 1)), stopped('remote-not-primary')],
    ['a demoted replica is not copied', remote(demotedCopy(1, elsewhere, 1)), stopped('remote-not-primary')],
    ['a removed remote leaves nothing to do', { kind: 'removed', mirrorUuid: there } as const, { kind: 'idle' }],
    ['an absent remote leaves nothing to do', { kind: 'absent' } as const, { kind: 'idle' }],
  ])('%s', (_, other, decision) => {
    expect(decide(undefined, other)).toEqual(decision);
  });

  test('a remote that is itself a replica is copied, unless mirroring was given up here', () => {
    const replica = remote(copy(1, elsewhere, 1));
    expect(decide(undefined, replica)).toMatchObject({ kind: 'sync', create: true, targetSnapId: 1 });
    const local = { mirrorUuid: here, peerUuid: ourUuid, nameTaken: false, givenUp: true };
    expect(decideSync({ local, remote: replica })).toEqual({ kind: 'idle' });
  });

  test('an unrelated image with the same name is a clash, not a split-brain', () => {
    const decision = decide(undefined, remote(primary(1)), true);
    expect(decision).toEqual(stopped('name-clash'));
    expect(decision).not.toMatchObject({ reason: 'split-brain' });
  });

  test('a remote that is still being enabled is waited for', () => {
    expect(decide(undefined, { ...remote(primary(1)), state: 'creating' } as RemoteView).kind).toBe('wait');
  });
});

describe('a replica', () => {
  test('goes to the newest snapshot in one step, from the one that it has', () => {
    expect(decide(image([copy(9, there, 2)]), remote(primary(2), primary(3), primary(4), primary(5)))).toEqual({
      kind: 'sync',
      create: false,
      targetSnapId: 5,
      linkSnapId: 2,
      demoted: false,
      resync: false,
      continues: false,
    });
  });

  test('is idle when it has the newest snapshot', () => {
    expect(decide(image([copy(9, there, 5)]), remote(primary(5)))).toEqual({ kind: 'idle' });
  });

  test('acknowledges again when the remote still lists it on an older snapshot', () => {
    expect(decide(image([copy(9, there, 5)]), remote(primary(4), primary(5)))).toEqual({
      kind: 'idle',
      acknowledge: 5,
    });
    expect(decide(image([demotedCopy(9, there, 5)]), remote(primary(4), demoted(5)))).toEqual({
      ...stopped('remote-demoted'),
      acknowledge: 5,
    });
  });

  test('copies a demotion as a demotion, then reports it', () => {
    expect(decide(image([copy(9, there, 2)]), remote(primary(2), demoted(3)))).toMatchObject({
      kind: 'sync',
      targetSnapId: 3,
      demoted: true,
    });
    expect(decide(image([demotedCopy(10, there, 3)]), remote(demoted(3)))).toEqual(stopped('remote-demoted'));
  });

  test('goes on to the target it began with, though a newer one exists', () => {
    const sync = { primaryMirrorUuid: there, targetSnapId: 3, resync: false };
    const decision = decide(image([copy(9, there, 2)], { sync }), remote(primary(2), primary(3), primary(4)));
    expect(decision).toMatchObject({ kind: 'sync', targetSnapId: 3, continues: true });
  });

  test('turns to the newest snapshot when its target is gone', () => {
    const sync = { primaryMirrorUuid: there, targetSnapId: 3, resync: false };
    const decision = decide(image([copy(9, there, 2)], { sync }), remote(primary(2), primary(4)));
    expect(decision).toMatchObject({ kind: 'sync', targetSnapId: 4, continues: false });
  });

  test('follows a site that took over from the primary it copied, if that site has the same point', () => {
    const local = image([demotedCopy(9, elsewhere, 7)]);
    expect(decide(local, remote(demotedCopy(3, elsewhere, 7), primary(4)))).toMatchObject({
      kind: 'sync',
      targetSnapId: 4,
      linkSnapId: 3,
    });
    expect(decide(local, remote(primary(4)))).toEqual(stopped('split-brain'));
  });

  test('is in split-brain when the remote does not have its point any more', () => {
    expect(decide(image([copy(9, there, 2)]), remote(primary(3), primary(4)))).toEqual(stopped('split-brain'));
  });

  test('is in split-brain when the remote has another content under the same id', () => {
    expect(decide(image([copy(9, there, 2, 'other content')]), remote(primary(2), primary(3)))).toEqual(
      stopped('split-brain'),
    );
  });

  test('without any mirror snapshot has no known history: split-brain, never an overwrite', () => {
    expect(decide(image([]), remote(primary(3)))).toEqual(stopped('split-brain'));
  });

  test.each([
    ['the image is being disabled here', image([copy(9, there, 2)], { state: 'disabling' }), remote(primary(2))],
    [
      'the image is being disabled there',
      image([copy(9, there, 2)]),
      { ...remote(primary(2)), state: 'disabling' } as RemoteView,
    ],
  ])('waits while %s', (_, local, other) => {
    expect(decide(local, other).kind).toBe('wait');
  });
});

describe('an image that is still being created', () => {
  const creating = (target?: number): Image =>
    image([], {
      state: 'creating',
      ...(target === undefined ? {} : { sync: { primaryMirrorUuid: there, targetSnapId: target, resync: false } }),
    });

  test('goes on with its first sync', () => {
    expect(decide(creating(1), remote(primary(1), primary(2)))).toMatchObject({
      kind: 'sync',
      create: false,
      targetSnapId: 1,
      continues: true,
    });
  });

  test('takes the demotion when the remote was demoted meanwhile', () => {
    expect(decide(creating(1), remote(demoted(2)))).toMatchObject({ kind: 'sync', targetSnapId: 2, demoted: true });
  });

  test('is removed when its source is', () => {
    expect(decide(creating(1), { kind: 'removed', mirrorUuid: there })).toEqual({ kind: 'remove' });
  });
});

describe('a primary', () => {
  test('follows nobody, whatever the remote says', () => {
    for (const other of [remote(primary(1)), remote(demoted(1)), { kind: 'removed', mirrorUuid: there } as const]) {
      expect(decide(image([primary(1)], { resyncRequested: true }), other)).toEqual(stopped('local-primary'));
    }
  });

  test('that was promoted in the middle of a sync says so', () => {
    const sync = { primaryMirrorUuid: there, targetSnapId: 3, resync: false };
    expect(decide(image([copy(1, there, 2), marker(2), primary(3)], { sync }), remote(primary(3)))).toEqual(
      stopped('force-promoted'),
    );
  });
});

describe('a demoted primary', () => {
  test('follows the site that copied its demotion and was promoted', () => {
    expect(decide(image([demoted(8)]), remote(demotedCopy(3, here, 8), primary(4)))).toMatchObject({
      kind: 'sync',
      targetSnapId: 4,
      linkSnapId: 3,
    });
  });

  test('is in split-brain with a site that was promoted from an older point', () => {
    expect(decide(image([primary(7), demoted(8)]), remote(copy(3, here, 7), marker(4), primary(5)))).toEqual(
      stopped('split-brain'),
    );
  });

  test('waits for somebody to be promoted', () => {
    expect(decide(image([demoted(8)]), remote(demotedCopy(3, here, 8)))).toEqual(stopped('remote-not-primary'));
  });

  test('that is ahead of a demoted remote does not call it split-brain', () => {
    const local = image([demotedCopy(5, there, 3), primary(6), demoted(7)]);
    expect(decide(local, remote(demoted(3)))).toEqual(stopped('remote-not-primary'));
  });

  test('shows a split-brain even while the other side is demoted too', () => {
    expect(decide(image([demoted(8)]), remote(demoted(5)))).toEqual(stopped('split-brain'));
  });
});

describe('resync', () => {
  const asked = { resyncRequested: true };

  test('takes the newest snapshot of a primary, whatever the history', () => {
    expect(decide(image([demoted(8)], asked), remote(primary(4), primary(5)))).toMatchObject({
      kind: 'sync',
      targetSnapId: 5,
      resync: true,
    });
    expect(decide(image([copy(9, there, 5)], asked), remote(primary(5)))).toMatchObject({
      kind: 'sync',
      targetSnapId: 5,
      linkSnapId: 5,
      resync: true,
    });
  });

  test.each([
    ['demoted', remote(demoted(5))],
    ['a replica', remote(copy(5, here, 8))],
  ])('does nothing while the remote is %s: there may be no other copy', (_, other) => {
    expect(decide(image([demoted(8)], asked), other)).toEqual(stopped('remote-not-primary'));
  });

  test('while the remote is demoted, what is left of its line is copied as ever; the request waits', () => {
    expect(decide(image([copy(9, there, 4)], asked), remote(primary(4), demoted(5)))).toMatchObject({
      kind: 'sync',
      targetSnapId: 5,
      linkSnapId: 4,
      resync: false,
    });
    const begun = { ...asked, sync: { primaryMirrorUuid: 'another', targetSnapId: 7, resync: true } };
    expect(decide(image([copy(9, there, 4)], begun), remote(primary(4), demoted(5)))).toEqual(
      stopped('remote-not-primary'),
    );
  });

  test('that has begun goes on, into a demotion if need be', () => {
    const sync = { primaryMirrorUuid: there, targetSnapId: 4, resync: true };
    expect(decide(image([demoted(8)], { sync }), remote(primary(4), demoted(5)))).toMatchObject({
      targetSnapId: 4,
      continues: true,
      resync: true,
    });
    expect(decide(image([demoted(8)], { sync }), remote(demoted(5)))).toMatchObject({
      targetSnapId: 5,
      continues: false,
      resync: true,
    });
  });

  test('does not go on with an ordinary sync as if it had asked for a resync', () => {
    const sync = { primaryMirrorUuid: there, targetSnapId: 4, resync: false };
    const decision = decide(image([copy(1, there, 3)], { sync, ...asked }), remote(primary(3), primary(4), primary(5)));
    expect(decision).toMatchObject({ targetSnapId: 5, continues: false, resync: true });
  });
});

describe('a remote image that was removed', () => {
  const removed: RemoteView = { kind: 'removed', mirrorUuid: there };

  test('takes its replica with it', () => {
    expect(decide(image([copy(9, there, 5)]), removed)).toEqual({ kind: 'remove' });
  });

  test.each([
    ['a demoted primary', image([demoted(8)]), removed],
    ['a copy of a demotion, which may be the last good one', image([demotedCopy(9, there, 5)]), removed],
    ['a replica of another site', image([copy(9, elsewhere, 5)]), removed],
    [
      'a replica whose remote knows nothing of it',
      image([copy(9, there, 5)]),
      { kind: 'absent' as const, mirrorUuid: there },
    ],
  ])('does not take %s', (_, local, other) => {
    expect(decide(local, other)).toEqual(stopped('remote-gone'));
  });
});

describe('the relation of two histories', () => {
  const site = (mirrorUuid: string, ...snapshots: MirrorSnapshot[]) => ({ mirrorUuid, snapshots });
  test.each([
    ['equal', site(here, copy(9, there, 2)), site(there, primary(2))],
    ['behind', site(here, copy(9, there, 2)), site(there, primary(2), primary(3))],
    ['ahead', site(here, demotedCopy(9, there, 2), primary(10)), site(there, demoted(2))],
    ['diverged', site(here, copy(9, there, 2), primary(10)), site(there, primary(2), primary(3))],
    ['empty', site(here), site(there, primary(2))],
  ] as const)('is %s', (relation, a, b) => {
    expect(relationOf(a, b)).toBe(relation);
  });
});
