// Pools, bootstrap tokens, registration and what a peer may do.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { FarsideError } from '../../lib/errors.ts';
import { mirrorSnapshots } from '../../lib/image/header.ts';
import { PeerEndpoint } from '../../lib/mirror/primary/endpoint.ts';
import { createMirrorSnapshot, demoteImage, enableImage } from '../../lib/mirror/verbs/images.ts';
import { promoteImage } from '../../lib/mirror/verbs/promote.ts';
import {
  authenticatePeer,
  createBootstrapToken,
  importBootstrapToken,
  registerPeer,
} from '../../lib/mirror/peers/peer.ts';
import { addPeer, removePeer, setPeer } from '../../lib/mirror/peers/peer-verbs.ts';
import { createPool, listPools, readPool, removePool } from '../../lib/mirror/pool.ts';
import { poolInfo } from '../../lib/mirror/verbs/pool-info.ts';
import { disablePool, enablePool } from '../../lib/mirror/verbs/pool-mode.ts';
import { poolStatus } from '../../lib/mirror/status/status.ts';
import { decodeToken, encodeToken } from '../../lib/mirror/peers/token.ts';
import { headContent, headerOf, makeImage, spec, World, write, type TestSite } from './two-sites.ts';

async function pools(): Promise<World> {
  const world = new World();
  for (const site of [world.a, world.b]) await world.run(createPool(site.deps, site, 'rbd'));
  return world;
}

const poolOf = async (site: TestSite) => (await readPool(site.deps, 'rbd')).value;
const code = (expected: string) => expect.objectContaining({ code: expected }) as unknown;

describe('pools', () => {
  test('are made once, listed, and removed when nothing is left in them', async () => {
    const { a } = await pools();
    await expect(createPool(a.deps, a, 'rbd')).rejects.toEqual(code('EEXIST'));
    expect(await listPools(a)).toEqual(['rbd']);
    await makeImage(a, 'disk', 512);
    await expect(removePool(a.deps, a, 'rbd')).rejects.toEqual(code('ENOTEMPTY'));
    await expect(removePool(a.deps, a, 'none')).rejects.toEqual(code('ENOENT'));
    await createPool(a.deps, a, 'other');
    await removePool(a.deps, a, 'other');
    expect(await listPools(a)).toEqual(['rbd']);
    await expect(createPool(a.deps, a, 'a/b')).rejects.toEqual(code('EINVAL'));
  });

  test('enable and disable as in rbd', async () => {
    const { a } = await pools();
    expect(await poolInfo(a.deps, 'rbd')).toEqual({ mode: 'disabled' });
    await expect(poolStatus(a.deps, 'rbd')).rejects.toEqual(code('EINVAL'));
    await expect(enablePool(a.deps, 'rbd', 'x')).rejects.toThrow("must specify 'image' or 'pool' mode.");
    expect(await enablePool(a.deps, 'rbd', 'image')).toEqual({ outcome: 'enabled', mode: 'image' });
    expect(await enablePool(a.deps, 'rbd', 'image')).toEqual({ outcome: 'unchanged', mode: 'image' });
    expect(await enablePool(a.deps, 'rbd', 'pool')).toEqual({ outcome: 'switched', mode: 'pool', from: 'image' });
    await makeImage(a, 'disk', 512);
    await expect(enableImage(a.deps, spec('disk'), 'snapshot')).rejects.toThrow('pool is not in image mirror mode');
    await enablePool(a.deps, 'rbd', 'image');
    await expect(enableImage(a.deps, spec('disk'), 'x')).rejects.toThrow('invalid mode name: x');
    await enableImage(a.deps, spec('disk'), 'snapshot');
    await enableImage(a.deps, spec('disk'), 'snapshot');
    await expect(createMirrorSnapshot(a.deps, spec('disk'))).rejects.toThrow(
      'no mirror tx peers configured for the pool',
    );
    await expect(disablePool(a.deps, 'rbd')).rejects.toThrow('there are still images with mirroring enabled');
  });
});

describe('bootstrap', () => {
  test('rx-tx registers on both sides, and the importing pool adopts the mode', async () => {
    const world = new World();
    await world.pair();
    const [a, b] = [await poolOf(world.a), await poolOf(world.b)];
    expect(b.mirror?.mode).toBe('image');
    expect([a.peers[0]?.direction, b.peers[0]?.direction]).toEqual(['rx-tx', 'rx-tx']);
    expect([a.peers[0]?.mirrorUuid, b.peers[0]?.mirrorUuid]).toEqual([b.mirror?.mirrorUuid, a.mirror?.mirrorUuid]);
    expect(await poolInfo(world.b.deps, 'rbd')).toMatchObject({
      mode: 'image',
      site_name: 'site-b',
      peers: [{ site_name: 'site-a', client_name: 'client.rbd-mirror-peer' }],
    });
    await expect(disablePool(world.a.deps, 'rbd')).rejects.toEqual(code('EBUSY'));
  });

  test('rx-only makes the far side send only, and still replicates at once', async () => {
    const world = new World();
    await world.pair('rx-only');
    expect([(await poolOf(world.a)).peers[0]?.direction, (await poolOf(world.b)).peers[0]?.direction]).toEqual([
      'tx-only',
      'rx-only',
    ]);
    await makeImage(world.a, 'disk', 64 * 1024);
    await write(world.a, 'disk', 1, [{ offset: 0, length: 4096 }]);
    await world.run(enableImage(world.a.deps, spec('disk'), 'snapshot'));
    await world.settle();
    expect((await headContent(world.b, 'disk')).equals(await headContent(world.a, 'disk'))).toBe(true);
  });

  test('images that were mirrored before the peer came are found', async () => {
    const world = await pools();
    await enablePool(world.a.deps, 'rbd', 'image');
    await makeImage(world.a, 'disk', 64 * 1024);
    await write(world.a, 'disk', 1, [{ offset: 0, length: 4096 }]);
    await world.run(enableImage(world.a.deps, spec('disk'), 'snapshot'));
    const token = await createBootstrapToken(world.a.deps, 'rbd');
    await world.run(importBootstrapToken(world.b.deps, 'rbd', token));
    await world.settle();
    expect((await headContent(world.b, 'disk')).equals(await headContent(world.a, 'disk'))).toBe(true);
  });

  test('secrets are stored hashed or sealed, never as they are', async () => {
    const world = new World();
    for (const site of [world.a, world.b]) await world.run(createPool(site.deps, site, 'rbd'));
    await enablePool(world.a.deps, 'rbd', 'image');
    const token = await createBootstrapToken(world.a.deps, 'rbd');
    await world.run(importBootstrapToken(world.b.deps, 'rbd', token));
    const { key } = decodeToken(token);
    expect(JSON.stringify(await poolOf(world.a))).not.toContain(key);
    const records = [...(await poolOf(world.a)).peers, ...(await poolOf(world.b)).peers];
    for (const record of records) {
      expect(record.keyHash).toMatch(/^[0-9a-f]{64}$/);
      expect(record.sealedKey).toMatch(/^sealed:/);
    }
  });

  test('a failing import leaves nothing behind, and says why', async () => {
    const world = await pools();
    const importAt = (token: string, options = {}) =>
      world.run(importBootstrapToken(world.b.deps, 'rbd', token, options));
    await expect(createBootstrapToken(world.a.deps, 'rbd')).rejects.toEqual(code('EINVAL'));
    await enablePool(world.a.deps, 'rbd', 'image');
    const token = await createBootstrapToken(world.a.deps, 'rbd');
    await expect(importAt('%%%')).rejects.toThrow('failed to import peer bootstrap token: failed to decode base64');
    await expect(importAt('e30=')).rejects.toThrow('invalid bootstrap token JSON');
    await expect(importAt(token, { direction: 'tx-only' })).rejects.toEqual(code('EINVAL'));
    await expect(world.run(importBootstrapToken(world.a.deps, 'rbd', token))).rejects.toThrow(
      'cannot import token for local cluster',
    );
    await expect(importAt(token, { siteName: 'site-a' })).rejects.toThrow('duplicate site name');
    await expect(importAt(encodeToken({ ...decodeToken(token), key: 'x'.repeat(43) }))).rejects.toEqual(code('EACCES'));
    await expect(importAt(encodeToken({ ...decodeToken(token), fsid: 'another' }))).rejects.toThrow(
      'unexpected remote cluster fsid',
    );
    world.a.isDown = true;
    await expect(importAt(token)).rejects.toEqual(code('ECONNREFUSED'));
    world.a.isDown = false;
    expect(await poolOf(world.b)).toMatchObject({ peers: [] });
    expect((await poolOf(world.b)).mirror).toBeUndefined();
    expect((await poolOf(world.a)).peers).toEqual([]);
    await importAt(token);
    await expect(importAt(token)).rejects.toThrow('multiple peers are not currently supported');
  });

  test('a pool that does not mirror refuses with ENOSYS', async () => {
    const world = await pools();
    await enablePool(world.a.deps, 'rbd', 'image');
    const token = await createBootstrapToken(world.a.deps, 'rbd');
    await disablePool(world.a.deps, 'rbd');
    await enablePool(world.b.deps, 'rbd', 'image');
    await expect(world.run(importBootstrapToken(world.b.deps, 'rbd', token))).rejects.toEqual(code('ENOSYS'));
  });

  test('a second receiving peer is refused, a second sending one is not', async () => {
    const world = new World();
    await world.pair();
    const third = { fsid: 'c', siteName: 'site-c', mirrorUuid: 'c', url: 'https://c.test', key: 'k'.repeat(43) };
    await expect(registerPeer(world.a.deps, 'rbd', { ...third, direction: 'rx-tx' })).rejects.toThrow(
      'multiple RX peers are not currently supported',
    );
    await registerPeer(world.a.deps, 'rbd', { ...third, direction: 'rx-only' });
    expect((await poolOf(world.a)).peers.map(({ direction }) => direction)).toEqual(['rx-tx', 'tx-only']);
  });

  test('a bootstrap token that is used without end does not fill the pool document', async () => {
    const world = new World({ limits: { peersMax: 3 } });
    await world.pair();
    const register = (name: string) =>
      registerPeer(world.a.deps, 'rbd', {
        fsid: name,
        siteName: name,
        mirrorUuid: name,
        url: `https://${name}.test`,
        key: 'k'.repeat(43),
        direction: 'rx-only',
      });
    await register('c');
    await register('d');
    await expect(register('e')).rejects.toEqual(code('ENOSPC'));
    await register('d');
    expect((await poolOf(world.a)).peers).toHaveLength(3);
  });

  test('removing a peer unlinks it from every mirror snapshot; removing it again is fine', async () => {
    const world = new World();
    await world.pair();
    await makeImage(world.a, 'disk', 64 * 1024);
    await world.run(enableImage(world.a.deps, spec('disk'), 'snapshot'));
    await world.settle();
    const { uuid } = (await poolOf(world.a)).peers[0]!;
    expect(mirrorSnapshots(await headerOf(world.a, 'disk'))[0]?.namespace.mirrorPeerUuids).toEqual([uuid]);
    await world.run(removePeer(world.a.deps, 'rbd', uuid));
    await world.run(removePeer(world.a.deps, 'rbd', uuid));
    expect(mirrorSnapshots(await headerOf(world.a, 'disk'))[0]?.namespace.mirrorPeerUuids).toEqual([]);
    await expect(removePeer(world.a.deps, 'rbd', 'x')).rejects.toThrow('invalid uuid');
  });
});

describe('peers by hand', () => {
  const keyOf = (token: string): string => decodeToken(token).key;
  const urlOf = (site: TestSite): string => site.deps.site.url;
  const isReplicated = async (world: World): Promise<boolean> => {
    await makeImage(world.a, 'disk', 64 * 1024);
    await write(world.a, 'disk', 1, [{ offset: 0, length: 4096 }]);
    await world.run(enableImage(world.a.deps, spec('disk'), 'snapshot'));
    await world.minute();
    return (await headContent(world.b, 'disk')).equals(await headContent(world.a, 'disk'));
  };

  async function mirroredPools(): Promise<World> {
    const world = await pools();
    for (const site of [world.a, world.b]) await world.run(enablePool(site.deps, 'rbd', 'image'));
    return world;
  }

  test('a peer that receives only appears at the other side with its first call', async () => {
    const world = await mirroredPools();
    const token = await createBootstrapToken(world.a.deps, 'rbd');
    const uuid = await world.run(importBootstrapToken(world.b.deps, 'rbd', token, { direction: 'rx-only' }));
    expect((await poolInfo(world.a.deps, 'rbd')).peers).toEqual([]);
    await expect(disablePool(world.a.deps, 'rbd')).rejects.toEqual(code('EBUSY'));
    await world.run(removePeer(world.b.deps, 'rbd', uuid));
    expect((await poolOf(world.a)).peers).toEqual([]);

    await world.run(importBootstrapToken(world.b.deps, 'rbd', token, { direction: 'rx-only' }));
    await world.settle();
    expect((await poolInfo(world.a.deps, 'rbd')).peers).toMatchObject([{ direction: 'tx-only', site_name: 'site-b' }]);
    expect(await isReplicated(world)).toBe(true);
  });

  test('added with address and key, it mirrors; added at the other side too, it mirrors both ways', async () => {
    const world = await mirroredPools();
    const key = keyOf(await createBootstrapToken(world.a.deps, 'rbd'));
    const uuid = await world.run(addPeer(world.b.deps, 'rbd', { siteName: 'site-a', url: urlOf(world.a), key }));
    await world.settle();
    expect((await poolOf(world.a)).peers).toMatchObject([{ direction: 'tx-only', siteName: 'site-b' }]);
    expect(await isReplicated(world)).toBe(true);
    // Known from its own introduction: neither address nor key is needed.
    await world.run(addPeer(world.a.deps, 'rbd', { siteName: 'site-b' }));
    expect((await poolOf(world.a)).peers).toMatchObject([{ direction: 'rx-tx', siteName: 'site-b' }]);
    await world.run(demoteImage(world.a.deps, spec('disk')));
    await world.minute();
    await world.run(promoteImage(world.b.deps, spec('disk')));
    await write(world.b, 'disk', 2, [{ offset: 0, length: 4096 }]);
    await world.run(createMirrorSnapshot(world.b.deps, spec('disk')));
    await world.minute();
    expect((await headContent(world.a, 'disk')).equals(await headContent(world.b, 'disk'))).toBe(true);
    expect((await poolOf(world.b)).peers[0]?.uuid).toBe(uuid);
  });

  test('a mere name harms nothing, and becomes a peer by what is set, or when that site introduces itself', async () => {
    const world = await mirroredPools();
    const uuid = await world.run(addPeer(world.b.deps, 'rbd', { siteName: 'site-a' }));
    await world.minute();
    expect(await poolInfo(world.b.deps, 'rbd', { all: true, showKeys: true })).toMatchObject({
      peers: [{ mirror_uuid: '', client_name: 'client.admin' }],
    });
    const key = keyOf(await createBootstrapToken(world.a.deps, 'rbd'));
    await world.run(setPeer(world.b.deps, 'rbd', uuid, 'key-file', key));
    expect((await poolOf(world.a)).peers).toEqual([]);
    await expect(setPeer(world.b.deps, 'rbd', uuid, 'mon-host', '[v2:127.0.0.1:3300]')).rejects.toEqual(code('EINVAL'));
    await world.run(setPeer(world.b.deps, 'rbd', uuid, 'mon-host', urlOf(world.a)));
    expect(await isReplicated(world)).toBe(true);

    const other = await mirroredPools();
    await other.run(addPeer(other.a.deps, 'rbd', { siteName: 'site-b' }));
    const token = await createBootstrapToken(other.a.deps, 'rbd');
    await other.run(addPeer(other.b.deps, 'rbd', { siteName: 'site-a', url: urlOf(other.a), key: keyOf(token) }));
    expect((await poolOf(other.a)).peers).toMatchObject([{ direction: 'rx-tx', url: urlOf(other.b) }]);
    expect(await isReplicated(other)).toBe(true);
  });

  test('a failing add or set changes nothing at either side', async () => {
    const world = await mirroredPools();
    const key = 'k'.repeat(43);
    const before = await poolOf(world.b);
    const adding = addPeer(world.b.deps, 'rbd', { siteName: 'site-a', url: urlOf(world.a), key });
    await expect(world.run(adding)).rejects.toEqual(code('EACCES'));
    await expect(addPeer(world.b.deps, 'rbd', { siteName: 'site-b' })).rejects.toThrow(
      'cannot add self as remote peer',
    );
    await expect(addPeer(world.b.deps, 'rbd', { siteName: 'x', direction: 'tx-only' })).rejects.toEqual(code('EINVAL'));
    expect(await poolOf(world.b)).toEqual(before);
    const uuid = await addPeer(world.b.deps, 'rbd', { siteName: 'x', direction: 'rx-only' });
    await expect(addPeer(world.b.deps, 'rbd', { siteName: 'y' })).rejects.toThrow('multiple RX peers');
    for (const [name, value] of [
      ['direction', 'sideways'],
      ['bogus', 'v'],
      ['client', ''],
      ['site-name', 'site-b'],
    ])
      await expect(setPeer(world.b.deps, 'rbd', uuid, name!, value!)).rejects.toThrow(FarsideError);
    expect((await poolOf(world.b)).peers).toMatchObject([{ siteName: 'x', direction: 'rx-only' }]);
  });

  test('a direction set governs who pulls, and for whom snapshots are kept', async () => {
    const world = new World();
    await world.pair();
    expect(await isReplicated(world)).toBe(true);
    const { uuid } = (await poolOf(world.a)).peers[0]!;
    await world.run(setPeer(world.a.deps, 'rbd', uuid, 'direction', 'rx-only'));
    expect(mirrorSnapshots(await headerOf(world.a, 'disk'))[0]?.namespace.mirrorPeerUuids).toEqual([]);
    await expect(createMirrorSnapshot(world.a.deps, spec('disk'))).rejects.toThrow('no mirror tx peers');
    await world.run(setPeer(world.a.deps, 'rbd', uuid, 'direction', 'tx-only'));
    await world.run(createMirrorSnapshot(world.a.deps, spec('disk')));
    await world.minute();
    expect(mirrorSnapshots(await headerOf(world.b, 'disk'))).toHaveLength(1);
    world.a.handled.length = 0;
    await world.minute();
    expect(world.a.handled).toEqual([]);
  });
});

test('a site says what keeps it from its peer, at the side that receives, until it is over', async () => {
  const world = new World();
  await world.pair('rx-only');
  const daemonsOf = async (site: TestSite) => (await poolStatus(site.deps, 'rbd', { verbose: true })).daemons;
  const healthy = expect.not.objectContaining({ callouts: expect.anything() as unknown }) as unknown;
  world.a.isDown = true;
  await world.run(world.b.tick());
  expect(await daemonsOf(world.b)).toMatchObject([{ health: 'WARNING', callouts: ['unable to access remote pool'] }]);
  const { A: writes } = world.b.deps.bucket.counts();
  await world.run(world.b.tick());
  expect(world.b.deps.bucket.counts().A).toBe(writes);
  world.a.isDown = false;
  world.b.isDown = true;
  await world.run(world.b.tick());
  expect(await daemonsOf(world.b)).toEqual([healthy]);
  await world.run(world.a.tick());
  expect(await daemonsOf(world.a)).toEqual([healthy]);

  await world.run(removePeer(world.a.deps, 'rbd', (await poolOf(world.a)).peers[0]!.uuid));
  world.clock.advance(15_000);
  await expect(world.run(world.b.tick())).rejects.toEqual(code('EACCES'));
  expect(await daemonsOf(world.b)).toMatchObject([
    { health: 'ERROR', callouts: ['unable to connect to remote cluster'] },
  ]);
});

describe('what a peer may do', () => {
  test('it reads only mirrored images of its pool, and only as its direction allows', async () => {
    const world = new World();
    await world.pair('rx-only');
    await makeImage(world.a, 'secret', 64 * 1024);
    await write(world.a, 'secret', 1, [{ offset: 0, length: 4096 }]);
    const { imageId, root } = await headerOf(world.a, 'secret');
    const record = (await poolOf(world.a)).peers[0]!;
    const endpoint = new PeerEndpoint(world.a.deps, 'rbd', record);
    expect(await endpoint.pack(imageId, root!.pack)).toEqual({ status: 'absent' });
    expect(await endpoint.packEntries(imageId, root!.pack, { entries: [[0, 0]] })).toEqual({ status: 'absent' });
    await expect(endpoint.wake(['x'])).rejects.toEqual(code('EACCES'));
    const other = new PeerEndpoint(world.b.deps, 'rbd', (await poolOf(world.b)).peers[0]!);
    await expect(other.image('x')).rejects.toEqual(code('EACCES'));
    await expect(endpoint.register()).rejects.toEqual(code('EACCES'));
  });

  test('a key that nobody gave out is nobody', async () => {
    const world = new World();
    await world.pair();
    expect(await authenticatePeer(world.a.deps, 'rbd', 'guess')).toBeUndefined();
  });
});

test('a token survives its text, and any other text is refused with EINVAL', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.base64String()), (text) => {
      expect(refusal(() => decodeToken(text))).toBe('EINVAL');
    }),
  );
  const token = {
    fsid: 'f',
    client_id: 'rbd-mirror-peer' as const,
    key: 'k'.repeat(43),
    mon_host: 'http://127.0.0.1:7480',
  };
  expect(decodeToken(`${encodeToken(token)}\n`)).toEqual(token);
});

function refusal(work: () => unknown): string | undefined {
  try {
    work();
    return undefined;
  } catch (error) {
    return error instanceof FarsideError ? error.code : 'a bug';
  }
}
