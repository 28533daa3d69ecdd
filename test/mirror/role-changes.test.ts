// What a change of role appends, and when it is refused.

import { describe, expect, test } from 'vitest';
import {
  canAsk,
  canCreateSnapshot,
  canDemote,
  canDisable,
  canPromote,
  canResync,
  demoteSnapshot,
  mirrorSnapshotName,
  primarySnapshot,
  promoteSnapshots,
  syncedSnapshot,
} from '../../lib/mirror/roles/role-changes.ts';
import { mirrorSnapshot } from './role-model.ts';

const copy = mirrorSnapshot({ id: 1, state: 'non-primary', primaryMirrorUuid: 'there', primarySnapId: 4 });
const demotedCopy = mirrorSnapshot({
  id: 1,
  state: 'non-primary-demoted',
  primaryMirrorUuid: 'there',
  primarySnapId: 4,
});
const ownPrimary = mirrorSnapshot({ id: 2, state: 'primary', mirrorPeerUuids: ['p'] });
const record = (state: string, mirrorPeerUuids: string[]): object => ({ state, complete: true, mirrorPeerUuids });

describe('appended snapshots', () => {
  test('a snapshot and a demotion list every peer that is sent to', () => {
    expect(primarySnapshot([ownPrimary], ['p', 'q'])).toEqual({
      append: [record('primary', ['p', 'q'])],
      peerSets: [],
    });
    expect(demoteSnapshot([ownPrimary], ['p'])).toEqual({ append: [record('primary-demoted', ['p'])], peerSets: [] });
  });

  test('an orderly promotion keeps, for its peers, the demotion that it continues', () => {
    expect(promoteSnapshots([demotedCopy], ['p'], { force: false })).toEqual({
      append: [record('primary', ['p'])],
      peerSets: [{ snapId: 1, mirrorPeerUuids: ['p'] }],
    });
  });

  test('a forced promotion of a replica is marked by an orphan, and keeps the copy that it was made from', () => {
    expect(promoteSnapshots([copy], ['p'], { force: true })).toEqual({
      append: [{ ...record('non-primary', []), primaryMirrorUuid: '' }, record('primary', ['p'])],
      peerSets: [{ snapId: 1, mirrorPeerUuids: ['p'] }],
    });
  });

  test('force adds nothing where an orderly promotion would do', () => {
    expect(promoteSnapshots([demotedCopy], [], { force: true }).append).toEqual([record('primary', [])]);
  });

  test('a peer that comes later holds the copy that the image was promoted from', () => {
    expect(primarySnapshot([copy, ownPrimary], ['p', 'late']).peerSets).toEqual([
      { snapId: 1, mirrorPeerUuids: ['late'] },
    ]);
  });

  test('the copy of a demotion is a demotion', () => {
    expect(syncedSnapshot({ mirrorUuid: 'u', snapId: 7 }, false, ['p'])).toEqual({
      ...record('non-primary', ['p']),
      primaryMirrorUuid: 'u',
      primarySnapId: 7,
    });
    expect(syncedSnapshot({ mirrorUuid: 'u', snapId: 7 }, true, [])).toMatchObject({ state: 'non-primary-demoted' });
  });

  test.each([
    ['primary', '.mirror.primary.g.u'],
    ['primary-demoted', '.mirror.primary.g.u'],
    ['non-primary', '.mirror.non_primary.g.u'],
    ['non-primary-demoted', '.mirror.non_primary.g.u'],
  ] as const)('the name of a %s snapshot is %s', (state, name) => {
    expect(mirrorSnapshotName(state, 'g', 'u')).toBe(name);
  });
});

describe('refusals', () => {
  const einval = (message: string): object => ({ code: 'EINVAL', message });
  const busy = { code: 'EBUSY', message: 'image is primary within a remote cluster or demotion is not propagated yet' };

  test.each([
    ['primary', false, einval('image is already primary')],
    ['primary', true, einval('image is already primary')],
    ['non-primary', false, busy],
    ['non-primary', true, undefined],
    ['orphan', false, undefined],
    ['orphan', true, undefined],
    ['unknown', true, einval('the image has no mirror snapshot to promote')],
  ] as const)('promote of an image that is %s, force %s', (state, force, refusal) => {
    expect(canPromote(state, { force })).toEqual(refusal);
  });

  test('promote of an orphan is refused while a reachable peer is primary, unless forced', () => {
    expect(canPromote('orphan', { force: false, remotePrimary: true })).toEqual(busy);
    expect(canPromote('orphan', { force: true, remotePrimary: true })).toBeUndefined();
  });

  test('only a primary is demoted, and only others are resynced', () => {
    expect([canDemote('primary'), canResync('orphan'), canResync('non-primary')]).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
    expect(canDemote('non-primary')).toEqual(einval('image is not primary'));
    expect(canResync('primary')).toEqual(einval('image is primary, cannot resync to itself'));
  });

  test('a replica is disabled only by force', () => {
    expect(canDisable('non-primary', { force: false })).toEqual(
      einval('mirrored image is not primary, add force option to disable mirroring'),
    );
    expect([canDisable('non-primary', { force: true }), canDisable('primary', { force: false })]).toEqual([
      undefined,
      undefined,
    ]);
  });

  test('a mirror snapshot needs snapshot mode, the primary role and a peer to send to', () => {
    const mirror = { mode: 'snapshot', state: 'enabled', snapshots: [] } as const;
    expect(canCreateSnapshot(mirror, 'primary', ['p'])).toBeUndefined();
    expect(canCreateSnapshot(undefined, 'primary', ['p'])).toEqual(einval('mirroring not enabled on the image'));
    expect(canCreateSnapshot({ ...mirror, mode: 'journal' }, 'primary', ['p'])).toEqual(
      einval('snapshot based mirroring not enabled on the image'),
    );
    expect(canCreateSnapshot(mirror, 'primary', [])).toEqual(einval('no mirror tx peers configured for the pool'));
    expect(canCreateSnapshot(mirror, 'orphan', ['p'])).toMatchObject({ code: 'EINVAL' });
  });

  test('an image that is not (or no longer) mirrored answers nothing', () => {
    expect([canAsk(undefined), canAsk({ state: 'disabling' })]).toEqual(
      Array(2).fill(einval('mirroring not enabled on the image')),
    );
    expect(canAsk({ state: 'enabled' })).toBeUndefined();
  });
});
