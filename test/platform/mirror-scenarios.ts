// What mirroring does on the real parts of a platform, end to end: two sites as processes of their own, commands as a user types
// them, bytes compared by the hash of what is exported. One list for every platform; mirror-*.test.ts run it.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { prefixes } from '../../lib/bucket/keys.ts';
import {
  clientOf,
  exportedSha256,
  imageIdOf,
  imageNames,
  importBytes,
  noise,
  packsOf,
  parseReplay,
  requestsOf,
  scratch,
  sha256,
  specOf,
  startPair,
  waitSynced,
  waitSyncing,
  type Pair,
} from './mirror-pair.ts';
import { NbdProcess } from './nbd-process.ts';
import { followedContent, waitAtPoint, waitFollowed } from './replica-points.ts';
import { waitUntil, type Site, type SitesOptions } from './sites.ts';
import { RawClient } from '../nbd/raw-client.ts';

const kibibyte = 1024;
const mebibyte = 1024 * kibibyte;

/** So that a thousand packs are a few megabytes, and each sync takes many steps, pieces and invocations. */
const tuning = {
  settings: { packBytes: 16 * kibibyte, blockBytes: 4 * kibibyte },
  limits: {
    piecePacksMax: 8,
    walkNodesMax: 32,
    manifestsMax: 1,
    inlineBytesMax: 64 * kibibyte,
    packsConcurrency: 2,
    standstillMs: 4000,
    completeDelayMs: 250,
  },
} satisfies Partial<SitesOptions>;

/** Incompressible: each 16 KiB are a pack. */
const thousandPacksBytes = 16 * mebibyte;
/** Of the pieces that interrupted invocations were at: four at once, with batches of a queue. */
const packsInFlightMax = 4 * tuning.limits.piecePacksMax;

/** Far more than a test takes on a machine that has nothing else to do. */
const testWaitMs = 240_000;

const eventually = (isTrue: () => Promise<boolean>, what: string): Promise<void> =>
  waitUntil(isTrue, what, testWaitMs / 2);

/** Everything but tuning. */
export type PairOptions = (name: string) => Omit<SitesOptions, 'settings' | 'limits'>;

/**
 * `startPlaces`: what the pair needs first, and each site's options once it is there. `isDirect`: peers are sent to the store of the
 * first site themselves.
 */
export function describeMirroring(
  startPlaces: () => Promise<PairOptions>,
  { short = false, isDirect = false } = {},
): void {
  let pair: Pair;
  let a: Site;
  let b: Site;

  beforeAll(async () => {
    const optionsOf = await startPlaces();
    pair = await startPair((name) => ({ tickSeconds: 1, ...optionsOf(name), ...tuning }));
    ({ a, b } = pair);
  }, testWaitMs);
  afterAll(() => pair.stop());

  /** The replica's head, or a snapshot, against what is expected. */
  const expectContent = async (site: Site, source: string, bytes: Uint8Array): Promise<void> => {
    expect({ site: site.name, source, sha256: await exportedSha256(pair, site, source) }).toEqual({
      site: site.name,
      source,
      sha256: sha256(bytes),
    });
  };

  const enable = (image: string): Promise<string> => a.farsideOk('mirror', 'image', 'enable', image, 'snapshot');
  const snapshot = (site: Site, image: string): Promise<number> => clientOf(site).createMirrorSnapshot(specOf(image));

  describe('a mirrored image', { timeout: testWaitMs }, () => {
    const first = noise('first', mebibyte);
    const second = Buffer.from(first);
    noise('change', 40 * kibibyte).copy(second, mebibyte / 2 + 3);
    const third = Buffer.from(second);
    noise('at the other site', 40 * kibibyte).copy(third, 0);

    test('is equal at the replica, byte for byte', async () => {
      await importBytes(pair, a, 'disk', first);
      await enable('disk');
      await waitSynced('disk', { from: a, to: b });
      await expectContent(b, 'disk', first);
    });

    test('follows with a delta: content, user snapshots with their protection, and metadata', async () => {
      await clientOf(a).createSnapshot(specOf('disk'), 'before');
      await clientOf(a).changeSnapshot(specOf('disk'), 'before', { protected: true });
      await clientOf(a).setMeta(specOf('disk'), 'owner', 'göran');
      await importBytes(pair, a, 'disk', second, '--update');
      const before = await requestsOf(b);
      await snapshot(a, 'disk');
      await waitSynced('disk', { from: a, to: b });
      const { bytesOut } = await requestsOf(b);
      expect(bytesOut - before.bytesOut).toBeLessThan(200 * kibibyte);
      await expectContent(b, 'disk', second);
      await expectContent(b, 'disk@before', first);
      expect(await clientOf(b).listSnapshots(specOf('disk'), { all: false })).toMatchObject([
        { name: 'before', protected: 'true' },
      ]);
      expect(await clientOf(b).listMeta(specOf('disk'))).toEqual({ owner: 'göran' });
    });

    test('follows with its size and its name', async () => {
      await clientOf(a).resizeImage(specOf('disk'), { sizeBytes: 2 * mebibyte, allowShrink: false });
      await clientOf(a).renameImage(specOf('disk'), 'vm');
      await snapshot(a, 'vm');
      await eventually(async () => (await imageNames(b)).includes('vm'), 'the replica has the new name');
      expect(await imageNames(b)).not.toContain('disk');
      await expectContent(b, 'vm', Buffer.concat([second, Buffer.alloc(mebibyte)]));
      await clientOf(a).resizeImage(specOf('vm'), { sizeBytes: mebibyte, allowShrink: true });
      await snapshot(a, 'vm');
      await waitSynced('vm', { from: a, to: b });
      await expectContent(b, 'vm', second);
    });

    test('is read-only at the replica: EROFS', async () => {
      const refused = await b.farside('import', '--update', scratch(pair, 'disk.in'), 'vm');
      expect(refused).toMatchObject({ code: 30, stdout: '' });
      expect(refused.stderr).toContain('read-only until it is promoted');
    });

    test('changes sides by demotion and promotion, and comes back', async () => {
      await a.farsideOk('mirror', 'image', 'demote', 'vm');
      await waitSynced('vm', { from: a, to: b });
      await b.farsideOk('mirror', 'image', 'promote', 'vm');
      await importBytes(pair, b, 'vm', third, '--update');
      const before = await requestsOf(a);
      await snapshot(b, 'vm');
      await waitSynced('vm', { from: b, to: a });
      expect((await requestsOf(a)).bytesOut - before.bytesOut).toBeLessThan(200 * kibibyte);
      await expectContent(a, 'vm', third);
      await b.farsideOk('mirror', 'image', 'demote', 'vm');
      await waitSynced('vm', { from: b, to: a });
      await a.farsideOk('mirror', 'image', 'promote', 'vm');
      await snapshot(a, 'vm');
      await waitSynced('vm', { from: a, to: b });
      await expectContent(b, 'vm', third);
    });

    test('catches up by itself when its site was down while a snapshot was taken', async () => {
      await b.stop();
      await importBytes(pair, a, 'vm', second, '--update');
      await clientOf(a).createSnapshot(specOf('vm'), 'outage');
      await snapshot(a, 'vm');
      await b.start();
      await waitSynced('vm', { from: a, to: b });
      await expectContent(b, 'vm@outage', second);
    });

    test('takes its replica with it when it is removed', async () => {
      await clientOf(a).changeSnapshot(specOf('vm'), 'before', { protected: false });
      await clientOf(a).purgeSnapshots(specOf('vm'));
      await a.farsideOk('rm', 'vm');
      await eventually(async () => (await imageNames(b)).length === 0, 'the replica is gone');
    });

    test('takes its replica with it when its mirroring is disabled', async () => {
      await importBytes(pair, a, 'short', first.subarray(0, 64 * kibibyte));
      await enable('short');
      await waitSynced('short', { from: a, to: b });
      await a.farsideOk('mirror', 'image', 'disable', 'short');
      await eventually(async () => (await imageNames(b)).length === 0, 'the replica is gone');
      await expectContent(a, 'short', first.subarray(0, 64 * kibibyte));
    });
  });

  describe('an image in use', { timeout: testWaitMs }, () => {
    const content = Buffer.concat([noise('used', 2 * mebibyte), Buffer.alloc(mebibyte)]);

    test('is followed by its journal, segment by segment, without its blocks going through a site whose store is reached directly', async () => {
      await clientOf(a).createImage(specOf('used'), { sizeBytes: content.length });
      await clientOf(a).enableImage(specOf('used'), 'journal');
      const server = await NbdProcess.start(a, { images: ['used'], socket: scratch(pair, 'nbd.sock') });
      await waitAtPoint('used', { from: a, to: b });
      const client = await RawClient.connect({ path: scratch(pair, 'nbd.sock') });
      await client.go('rbd/used');
      const before = await requestsOf(a);
      for (let offset = 0; offset < 2 * mebibyte; offset += mebibyte / 2) {
        const data = content.subarray(offset, offset + mebibyte / 2);
        expect(await client.ask(1, { offset, data })).toBe(0);
        expect(await client.ask(3)).toBe(0);
      }
      await waitFollowed('used', { from: a, to: b });
      const bytesRead = (await requestsOf(a)).bytesIn - before.bytesIn;
      expect(bytesRead < mebibyte / 4).toBe(isDirect);
      expect(sha256(await followedContent(b, 'used'))).toBe(sha256(content));
      await client.disconnect();
      expect(await server.stop()).toMatchObject({ code: 0, stderr: '' });
      await waitAtPoint('used', { from: a, to: b });
      await expectContent(b, 'used', content);
    });
  });

  if (short) return;

  describe('a sync of a thousand packs', { timeout: testWaitMs }, () => {
    const content = noise('thousand', thousandPacksBytes);

    test('shows its progress, and stands still when the host of the primary is killed', async () => {
      await importBytes(pair, a, 'large', content, '--object-size', '64K');
      await enable('large');
      await waitSyncing(b, 'large', mebibyte);
      await a.kill();
      const plain = await b.farsideOk('mirror', 'image', 'status', 'large');
      const json = JSON.parse(await b.farsideOk('mirror', 'image', 'status', 'large', '--format', 'json')) as {
        state: string;
        description: string;
      };
      expect(json.state).toBe('up+replaying');
      const replay = parseReplay(json.description);
      expect(replay).toMatchObject({ replay_state: 'syncing', seconds_until_synced: expect.any(Number) as number });
      expect(replay?.syncing_bytes_done).toBeGreaterThan(mebibyte - 1);
      expect(replay?.syncing_bytes_total).toBeGreaterThan(replay?.syncing_bytes_done ?? Infinity);
      expect(plain).toContain('description: replaying, {"bytes_per_second":');
      const tooEarly = await b.farside('export', 'large', scratch(pair, 'half.out'));
      expect([tooEarly.code, tooEarly.stderr]).toEqual([11, expect.stringContaining('for the first time')]);
    });

    test('goes on by ticks when both hosts are back after kill -9, and copies nothing again', async () => {
      await a.start();
      await waitSyncing(b, 'large', 6 * mebibyte);
      const imageId = await imageIdOf(b, 'large');
      const present = await packsOf(b, imageId);
      await b.kill();
      await b.start();
      await waitSynced('large', { from: a, to: b });
      const all = await packsOf(b, imageId);
      expect(all.count).toBeGreaterThanOrEqual(1000);
      expect(present.count).toBeGreaterThan(all.count * 0.3);
      // Bytes, since other requests depend on how often was looked. On a busy machine a copy may look as if it stood still, and some
      // of it comes again.
      const missingBytes = all.bytes - present.bytes;
      const { bytesOut } = await requestsOf(b);
      expect(bytesOut).toBeLessThan(missingBytes * 1.1 + packsInFlightMax * 20 * kibibyte + 2 * mebibyte);
      await expectContent(b, 'large', content);
    });

    test('leaves nothing but the image behind', async () => {
      const imageId = await imageIdOf(b, 'large');
      await eventually(async () => {
        const left = await b.bucket().list({ prefix: prefixes.syncs(imageId), limit: 10 });
        return left.objects.length === 0;
      }, 'the checkpoints are gone');
      expect(await (await b.fetch('/v1/failures')).json()).toEqual([]);
      const complaints = b
        .log()
        .split('\n')
        .filter((line) => /failed|Error/.test(line));
      expect(complaints).toEqual([]);
    });
  });

  describe('a forced promotion in the midst of a sync that lost its primary', { timeout: testWaitMs }, () => {
    const before = Buffer.concat([noise('before', 64 * kibibyte), Buffer.alloc(6 * mebibyte - 64 * kibibyte)]);
    const after = noise('after', 6 * mebibyte);

    test('leaves the replica at its last complete point', async () => {
      await importBytes(pair, a, 'torn', before);
      await enable('torn');
      await waitSynced('torn', { from: a, to: b });
      await importBytes(pair, a, 'torn', after, '--update');
      await snapshot(a, 'torn');
      await waitSyncing(b, 'torn', 128 * kibibyte);
      await a.kill();
      await b.farsideOk('mirror', 'image', 'promote', '--force', 'torn');
      await expectContent(b, 'torn', before);
    });

    test('is a split-brain once the old primary is demoted, which a resync resolves', async () => {
      await a.start();
      await a.farsideOk('mirror', 'image', 'demote', 'torn');
      await eventually(async () => {
        const status = await clientOf(a).imageStatus(specOf('torn'));
        return status.description?.includes('split-brain') === true;
      }, 'the split-brain is told');
      await snapshot(b, 'torn');
      await a.farsideOk('mirror', 'image', 'resync', 'torn');
      await waitSynced('torn', { from: b, to: a });
      await expectContent(a, 'torn', before);
    });
  });
}
