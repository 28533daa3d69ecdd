// Journal mode over HTTP: a writer that works through the store endpoint, whose changes are points, and a replica that is read
// through it. What replication decides is tested in test/mirror.

import { beforeEach, expect, test } from 'vitest';

import { AttachedImage } from '../../lib/attach/attached-image.ts';
import { attachLimitsDefault } from '../../lib/attach/limits.ts';
import { replaceDocument } from '../../lib/bucket/document.ts';
import type { ImageDeps, ImageSpec } from '../../lib/image/deps.ts';
import { openHead } from '../../lib/image/journal/fold.ts';
import { openHeader } from '../../lib/image/images.ts';
import { startImport } from '../../lib/image/imports/import.ts';
import { openStore } from '../../lib/image/packs/pack-store.ts';
import { readRange } from '../../lib/image/map/read.ts';
import { systemRandom } from '../../lib/random.ts';
import type { TestSite } from './harness.ts';
import { TestNetwork } from './network.ts';
import { StoreClient } from './store-client.ts';

const MiB = 2 ** 20;
const spec: ImageSpec = { pool: 'rbd', namespace: '', image: 'disk' };
const owner = { lockId: 'auto 1', locker: 'client.1', address: 'here:0/1', sinceMs: 0 };

let network: TestNetwork;
let a: TestSite;
let b: TestSite;

beforeEach(async () => {
  network = new TestNetwork();
  [a, b] = await network.addPair();
  await network.introduce(a, b, 'rx-tx');
  await importInto(false, Buffer.alloc(2 * MiB, 1));
  await a.ok('POST', '/v1/pools/rbd/images/disk/mirror', { mode: 'journal' });
  await network.settle();
});

const clientDeps = (site: TestSite): ImageDeps => new StoreClient(network, site).deps;

async function importInto(update: boolean, bytes: Buffer): Promise<void> {
  const running = await startImport(clientDeps(a), spec, { update, compression: 'auto' });
  for (let at = 0; at < bytes.length; at += running.chunkBytes)
    await running.write(at, bytes.subarray(at, at + running.chunkBytes));
  await running.finish(bytes.length);
}

async function headOf(site: TestSite): Promise<Uint8Array> {
  const deps = clientDeps(site);
  const { value } = await openHead(deps, spec);
  return readRange(openStore(deps, value), value.root, value.objectBytes, { offset: 0, length: value.sizeBytes });
}

test('what is imported through the store is a point, and replicates without being asked', async () => {
  await importInto(true, Buffer.alloc(2 * MiB, 2));
  await network.settle();
  expect(Buffer.compare(await headOf(b), Buffer.alloc(2 * MiB, 2))).toBe(0);
  expect([a.log, b.log]).toEqual([[], []]);
});

test('what is attached through the store is followed, and read through the store of the replica', async () => {
  const image = await AttachedImage.open(clientDeps(a), spec, { owner, limits: attachLimitsDefault });
  await network.settle();
  await image.write(MiB, Buffer.alloc(8192, 3));
  await image.flush();
  await new StoreClient(network, a).journal.advance(spec, { epoch: image.epoch, seq: 1, entry: 1, record: true });
  await network.settle();
  expect(Buffer.compare(await headOf(b), await image.read(0, 2 * MiB))).toBe(0);
  await image.write(0, Buffer.alloc(8192, 4));
  await image.close();
  await network.settle();
  expect(Buffer.compare(await headOf(b), await headOf(a))).toBe(0);
  await a.ok('POST', '/v1/pools/rbd/images/disk/mirror/demote');
  await network.settle();
  await b.ok('POST', '/v1/pools/rbd/images/disk/mirror/promote', {});
  expect(Buffer.compare(await headOf(b), await headOf(a))).toBe(0);
  expect([a.log, b.log]).toEqual([[], []]);
});

test('a change that the replicas have to see does not pass the store without its point', async () => {
  const deps = clientDeps(a);
  const stored = await openHeader(deps, spec);
  const next = { ...stored.value, sizeBytes: 4 * MiB };
  await expect(replaceDocument(deps.bucket, stored, next, systemRandom)).rejects.toMatchObject({ code: 'EPERM' });
  const forged = await deps.points!.withPoint(stored.value, next);
  const [last, ...others] = forged.snapshots.toReversed();
  const lying = { ...last!, root: null };
  const snapshots = [...others.toReversed(), lying];
  await expect(replaceDocument(deps.bucket, stored, { ...forged, snapshots }, systemRandom)).rejects.toMatchObject({
    code: 'EPERM',
  });
  expect(await replaceDocument(deps.bucket, stored, forged, systemRandom)).toBeDefined();
});
