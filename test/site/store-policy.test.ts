// What may be done through the store endpoint, by whom, to which keys. I8 for those who write headers themselves.

import { beforeEach, describe, expect, test } from 'vitest';

import { Bucket } from '../../lib/bucket/bucket.ts';
import { createDocument, readDocument, replaceDocument } from '../../lib/bucket/document.ts';
import { HttpDriver } from '../../lib/bucket/http.ts';
import { keyText, type Key } from '../../lib/bucket/keys.ts';
import { updateHeader } from '../../lib/image/access.ts';
import type { ImageSpec } from '../../lib/image/deps.ts';
import { headerSchema, type Header, type Root } from '../../lib/image/header.ts';
import { createImage, newHeader } from '../../lib/image/images.ts';
import { headerKey } from '../../lib/image/names.ts';
import { newImageId, parseImageId, type ImageId } from '../../lib/image/ids.ts';
import { systemRandom } from '../../lib/random.ts';
import { adminToken, TestSite } from './harness.ts';

const uuid = '71249ac3-c569-4c3d-a9d0-50c2f0482888';
const spec: ImageSpec = { pool: 'mine', namespace: '', image: 'disk' };
const theirs: ImageSpec = { pool: 'theirs', namespace: '', image: 'disk' };
const packId = 'f'.repeat(32);
const root: Root = { pack: packId, entry: 0, entryCount: 1, packBytes: 100, level: 0, hash: packId, usedBytes: 512 };

let site: TestSite;
let token: string;
let imageId: ImageId;
let otherId: ImageId;

beforeEach(async () => {
  site = new TestSite();
  for (const name of ['mine', 'theirs']) await site.ok('POST', '/v1/pools', { name });
  token = await site.clientToken('mine');
  const deps = { bucket: site.bucket, clock: site.clock, random: systemRandom };
  imageId = await createImage(deps, spec, { sizeBytes: 100 });
  otherId = await createImage(deps, theirs, { sizeBytes: 100 });
});

const store = (bearer: string): Bucket =>
  new Bucket(
    new HttpDriver({
      url: site.config.url,
      token: bearer,
      fetch: async (input, init) => site.site.fetch(new Request(input, init)),
    }),
    {
      clock: site.clock,
      random: systemRandom,
    },
  );

const serverDeps = () => ({ bucket: site.bucket, clock: site.clock, random: systemRandom });
const allowed = async (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'allowed',
    (error: { code: string }) => error.code,
  );

const closedToClients: Key[] = [
  { kind: 'site' },
  { kind: 'schedules' },
  { kind: 'heartbeat' },
  { kind: 'pool', pool: 'mine' },
  { kind: 'pool-schedules', pool: 'mine' },
  { kind: 'catalog', pool: 'mine' },
  { kind: 'feed', pool: 'mine', seq: 0 },
  { kind: 'feed-hint', pool: 'mine' },
  { kind: 'tombstone', pool: 'mine', globalId: uuid },
  { kind: 'peer', pool: 'mine', peerUuid: uuid },
  { kind: 'status', pool: 'mine', globalId: uuid, peerUuid: uuid },
  { kind: 'failure', id: 'f' },
  { kind: 'name', pool: 'theirs', namespace: '', image: 'disk' },
  { kind: 'upload', pool: 'theirs', namespace: '', image: 'disk' },
];

describe('a pool’s client', () => {
  test('client: reads the header, packs and names of its pool, and nothing else of the site', async () => {
    const bucket = store(token);
    for (const key of [
      headerKey(imageId),
      keyText({ kind: 'pack', imageId, packId }),
      keyText({ kind: 'name', ...spec }),
    ]) {
      expect([key, await allowed(bucket.get(key))]).toEqual([key, 'allowed']);
    }
    for (const key of [
      ...closedToClients,
      { kind: 'header', imageId: otherId } as const,
      { kind: 'pack', imageId: otherId, packId } as const,
      { kind: 'slot', imageId: otherId, epoch: '0123456789abcdef', seq: 0 } as const,
    ]) {
      expect([key.kind, await allowed(bucket.get(keyText(key)))]).toEqual([key.kind, 'EPERM']);
    }
  });

  test('client: sees whether its pool exists, not what is in its document', async () => {
    expect(await allowed(store(token).head('pools/mine/pool.json'))).toBe('allowed');
    expect(await allowed(store(token).get('pools/mine/pool.json'))).toBe('EPERM');
    expect(await allowed(store(token).head('pools/theirs/pool.json'))).not.toBe('allowed');
  });

  test('client: lists the names of its pool and the objects of its images only', async () => {
    const list = (prefix: string): Promise<string> => allowed(store(token).list({ prefix, limit: 10 }));
    expect(await list('pools/mine/names/')).toBe('allowed');
    expect(await list(`images/${imageId}/packs/`)).toBe('allowed');
    for (const prefix of [
      '',
      'images/',
      'pools/',
      'pools/mine/',
      'pools/theirs/names/',
      'pools/mine',
      `images/${otherId}/`,
      `images/${imageId}`,
      'status/',
    ]) {
      expect([prefix, await list(prefix)]).toEqual([prefix, 'EPERM']);
    }
  });

  test('client: writes nothing of another pool, and no document of the site', async () => {
    const bucket = store(token);
    for (const key of [...closedToClients, { kind: 'pack', imageId: otherId, packId } as const]) {
      expect([key.kind, await allowed(bucket.create(keyText(key), new Uint8Array(1)))]).toEqual([key.kind, 'EPERM']);
      expect([key.kind, await allowed(bucket.delete([keyText(key)]))]).toEqual([key.kind, 'EPERM']);
    }
  });

  test('client: an upload, packs of an image to be, its header and its name: the way of an import', async () => {
    const bucket = store(token);
    const fresh = newImageId(systemRandom);
    const upload = keyText({ kind: 'upload', ...spec, image: 'new' });
    expect(await allowed(bucket.create(upload, new Uint8Array(1)))).toBe('allowed');
    expect(await allowed(bucket.create(keyText({ kind: 'pack', imageId: fresh, packId }), new Uint8Array(1)))).toBe(
      'allowed',
    );
    const header = newHeader(serverDeps(), { ...spec, image: 'new' }, fresh, { sizeBytes: 1, initial: { root } });
    expect(await createDocument(bucket, headerKey(fresh), header, systemRandom)).toBeDefined();
    expect(await allowed(bucket.delete([upload]))).toBe('allowed');
  });

  test('client: makes no header in another pool, none of a mirrored image, none under another id', async () => {
    const bucket = store(token);
    const fresh = newImageId(systemRandom);
    const make = (change: Partial<Header>): Promise<string> =>
      allowed(
        createDocument(
          bucket,
          headerKey(fresh),
          { ...newHeader(serverDeps(), spec, fresh, { sizeBytes: 1 }), ...change },
          systemRandom,
        ),
      );
    expect(await make({ pool: 'theirs' })).toBe('EPERM');
    expect(await make({ mirror: { mode: 'snapshot', state: 'enabled', globalId: uuid } })).toBe('EPERM');
    expect(await make({ features: ['non-primary'] })).toBe('EPERM');
    expect(await make({ removing: true })).toBe('EPERM');
    expect(await make({ imageId: newImageId(systemRandom) })).toBe('EINVAL');
    expect(await make({ sizeBytes: -1 })).toBe('EINVAL');
    expect(await allowed(bucket.create(headerKey(fresh), new TextEncoder().encode('no json')))).toBe('EINVAL');
  });
});

describe.each(['admin', 'client'] as const)('headers put by an %s', (who) => {
  const bearer = (): string => (who === 'admin' ? adminToken : token);
  const put = async (change: (header: Header) => Header): Promise<string> => {
    const bucket = store(bearer());
    const stored = await readDocument(bucket, headerKey(imageId), headerSchema);
    return allowed(replaceDocument(bucket, stored!, change(stored!.value), systemRandom));
  };
  const makeReplica = (): Promise<unknown> =>
    updateHeader(serverDeps(), imageId, (header) => ({ ...header, features: [...header.features, 'non-primary'] }), {
      byMirroring: true,
    });

  test('headers: content, size, user snapshots and metadata may change', async () => {
    const snapshot = {
      id: 1,
      name: 's',
      root,
      sizeBytes: 1,
      createdAtMs: 1,
      protected: false,
      namespace: { type: 'user' as const },
    };
    expect(
      await put((header) => ({
        ...header,
        root,
        sizeBytes: 2 ** 20,
        meta: { k: 'v' },
        snapshots: [snapshot],
        nextSnapshotId: 2,
        modifiedAtMs: 5,
      })),
    ).toBe('allowed');
  });

  test.each<[string, Partial<Header>]>([
    ['the mirror part', { mirror: { mode: 'snapshot', state: 'enabled', globalId: uuid } }],
    ['what it was mirrored as', { formerly: [{ globalId: uuid, roots: [], untilMs: 1 }] }],
    ['the trash part', { trash: { id: uuid, source: 'user', deletedAtMs: 1, deferredUntilMs: 1 } }],
    ['features', { features: [] }],
    ['the name', { name: 'other' }],
    ['the namespace', { namespace: 'ns' }],
    ['removing', { removing: true }],
    ['collection', { collect: { run: 'r', step: 0, startedAtMs: 1 } }],
    ['the count of collections', { collectGeneration: 7 }],
    ['the size of objects', { objectBytes: 4096 }],
  ])('headers: %s may not', async (_what, change) => {
    expect(await put((header) => ({ ...header, ...change }))).toBe('EPERM');
  });

  test('headers: a snapshot id is not given twice', async () => {
    const snapshot = (id: number): Header['snapshots'][number] => ({
      id,
      name: `s${id}`,
      root: null,
      sizeBytes: 1,
      createdAtMs: 1,
      protected: false,
      namespace: { type: 'user' },
    });
    const ids = (next: number, ...all: number[]) =>
      put((header) => ({ ...header, snapshots: all.map(snapshot), nextSnapshotId: next }));
    expect(await ids(5, 3, 4)).toBe('allowed');
    expect(await ids(6, 4, 5)).toBe('allowed');
    expect(await ids(6, 3, 4)).toBe('EPERM'); // 3 is gone
    expect(await ids(6, 4, 6)).toBe('EPERM'); // 6 is yet to come
    expect(await ids(1)).toBe('EPERM');
    expect(await ids(6)).toBe('allowed');
  });

  test('I8: the header of a non-primary image is not replaced, its packs not written', async () => {
    await makeReplica();
    expect(await put((header) => ({ ...header, root }))).toBe('EROFS');
    expect(
      await put((header) => ({ ...header, features: header.features.filter((one) => one !== 'non-primary') })),
    ).toBe('EROFS');
    expect(await allowed(store(bearer()).create(keyText({ kind: 'pack', imageId, packId }), new Uint8Array(1)))).toBe(
      'EROFS',
    );
  });

  test('slots of a journal are filled once, never replaced or deleted, and of no image that is not there', async () => {
    const slot = (seq: number, id: string = imageId): string =>
      keyText({ kind: 'slot', imageId: id, epoch: '0123456789abcdef', seq });
    const bucket = store(bearer());
    expect(await allowed(bucket.create(slot(0), new Uint8Array(1)))).toBe('allowed');
    const meta = (await bucket.head(slot(0)))!;
    expect(await allowed(bucket.get(slot(0)))).toBe('allowed');
    expect((await bucket.create(slot(0), new Uint8Array(2))).created).toBe(false);
    expect(await allowed(bucket.replace(slot(0), new Uint8Array(2), meta.etag))).toBe('EPERM');
    expect(await allowed(bucket.delete([slot(0)]))).toBe('EPERM');
    expect(await allowed(bucket.create(slot(0, newImageId(systemRandom)), new Uint8Array(1)))).toBe('EPERM');
    await makeReplica();
    site.clock.setMs(site.clock.nowMs() + 60_000); // what was remembered is forgotten
    expect(await allowed(bucket.create(slot(1), new Uint8Array(1)))).toBe('EROFS');
  });

  test('I8: a demotion between read and put wins, whatever the put says', async () => {
    const bucket = store(bearer());
    const stored = await readDocument(bucket, headerKey(imageId), headerSchema);
    await makeReplica();
    expect(await replaceDocument(bucket, stored!, { ...stored!.value, root }, systemRandom)).toBeUndefined();
  });

  test('headers: that of a mirrored image is not deleted, packs never', async () => {
    expect(await allowed(store(bearer()).delete([keyText({ kind: 'pack', imageId, packId })]))).toBe('EPERM');
    await updateHeader(
      serverDeps(),
      imageId,
      (header) => ({ ...header, mirror: { mode: 'snapshot', state: 'enabled', globalId: uuid } }),
      { byMirroring: true },
    );
    expect(await allowed(store(bearer()).delete([headerKey(imageId)]))).toBe('EPERM');
  });

  test('documents: pool, site and mirroring’s own are not written through the store', async () => {
    for (const key of closedToClients.filter(({ kind }) => kind !== 'name' && kind !== 'upload')) {
      expect([key.kind, await allowed(store(bearer()).create(keyText(key), new Uint8Array(1)))]).toEqual([
        key.kind,
        'EPERM',
      ]);
    }
  });
});

test('admin: reads everything', async () => {
  for (const key of closedToClients) expect(await allowed(store(adminToken).get(keyText(key)))).toBe('allowed');
  expect(await allowed(store(adminToken).list({ prefix: '', limit: 10 }))).toBe('allowed');
});

test('store: a burst of packs reads the header once', async () => {
  const bucket = store(token);
  await bucket.get(keyText({ kind: 'pack', imageId, packId }));
  const before = site.bucket.counts();
  for (let index = 0; index < 20; index++)
    await bucket.get(keyText({ kind: 'pack', imageId: parseImageId(imageId), packId }));
  expect(site.bucket.counts().B - before.B).toBe(20);
});
