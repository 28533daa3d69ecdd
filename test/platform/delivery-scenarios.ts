// Messages of a sync as queues may deliver them: twice, at once, late and in any order; and what becomes of one whose handler
// fails. The replica's queue has no consumer here: what it would deliver is made by the test from the manifests in the bucket, so
// that no message arrives unless the test sends it. One list for every platform; mirror-delivery*.test.ts run it.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Driver } from '../../lib/bucket/driver.ts';
import { Bucket } from '../../lib/bucket/bucket.ts';
import { keyText, parseKey, prefixes, type Key } from '../../lib/bucket/keys.ts';
import { Client } from '../../lib/cli/client/client.ts';
import { exportToFile, openContent } from '../../lib/cli/transfer/export.ts';
import { systemClock } from '../../lib/clock.ts';
import { assert } from '../../lib/errors.ts';
import { settingsDefault, type ImageDeps } from '../../lib/image/deps.ts';
import { startImport } from '../../lib/image/imports/import.ts';
import type { Manifest, Message } from '../../lib/mirror/messages.ts';
import { systemRandom } from '../../lib/random.ts';
import { noise, parseReplay, sha256, sha256OfFile, specOf } from './mirror-pair.ts';

export const token = 'fs_admin_test';
const attemptsMax = 10;
const pool = 'rbd';
const kibibyte = 1024;
const limits = {
  pieceBytesMax: 64 * kibibyte,
  piecePacksMax: 4,
  walkNodesMax: 8,
  manifestsMax: 1,
  inlineBytesMax: 8 * kibibyte,
  // Nothing goes on by itself.
  standstillMs: 3_600_000,
  cacheMs: 0,
};
const settings = { packBytes: 16 * kibibyte, blockBytes: 4 * kibibyte };
export const tuning = { limits, settings };

/** A site whose messages the test delivers itself, as its platform would. */
export interface DeliverySite {
  readonly name: string;
  readonly url: string;
  /** As a client has it. */
  driver(): Driver;
  /** Damages or repairs an object, past everything that would not have it. */
  overwrite(key: string, bytes: Uint8Array): Promise<void>;
  /** Also a restart, with the same address and objects. */
  start(): Promise<void>;
  stop(): Promise<void>;
  /** One invocation. How many messages are to come again. */
  deliver(...bodies: Message[]): Promise<number>;
  tick(): Promise<void>;
}

/** `makeSites`: of `a` the queue has a consumer, of `b` not; neither is started. */
export function describeDelivery(what: string, makeSites: () => Promise<{ a: DeliverySite; b: DeliverySite }>): void {
  describe(`delivery to ${what}`, { timeout: 120_000 }, () => {
    let a: DeliverySite;
    let b: DeliverySite;
    let peerUuid: string;
    const directory = mkdtempSync(join(tmpdir(), 'farside delivery '));

    beforeAll(async () => {
      ({ a, b } = await makeSites());
      await Promise.all([a.start(), b.start()]);
      await Promise.all([a, b].map((site) => clientOf(site).createPool(pool)));
      await clientOf(a).enablePool({ pool, namespace: '' }, { mode: 'image', siteName: 'site-a' });
      const bootstrap = await clientOf(a).createBootstrapToken(pool, {});
      await clientOf(b).importBootstrapToken(pool, { token: bootstrap, direction: 'rx-tx', siteName: 'site-b' });
      const { peers } = (await clientOf(b).poolInfo({ pool, namespace: '' })) as { peers?: { uuid: string }[] };
      peerUuid = peers?.[0]?.uuid ?? '';
      // A site that never ticked has no status to show.
      await b.tick();
    });
    afterAll(async () => {
      await Promise.all([a?.stop(), b?.stop()]);
      rmSync(directory, { recursive: true });
    });

    async function importBytes(image: string, bytes: Buffer, { update }: { update: boolean }): Promise<void> {
      const running = await startImport(depsOf(a), specOf(image), {
        update,
        objectBytes: 64 * kibibyte,
        compression: 'none',
      });
      await running.write(0, bytes);
      await running.finish(bytes.length);
    }

    async function expectReplica(image: string, bytes: Buffer): Promise<void> {
      const path = join(directory, 'replica.out');
      rmSync(path, { force: true });
      await exportToFile(await openContent(depsOf(b), specOf(image)), path, { update: () => {}, stop: () => {} });
      expect(await sha256OfFile(path)).toBe(sha256(bytes));
    }

    type SyncMessage = Extract<Message, { type: 'sync' }>;

    async function syncMessage(image: string): Promise<SyncMessage> {
      const { global_id } = await clientOf(a).imageStatus(specOf(image));
      return { type: 'sync', pool, peerUuid, globalId: global_id };
    }

    /** What the bucket of the replica holds of a running sync. */
    type Running = { imageId: string; syncId: string; manifests: Manifest[] };

    async function runningSync(image: string): Promise<Running | undefined> {
      const { id: imageId } = await clientOf(b).imageInfo(specOf(image));
      const { bucket } = depsOf(b);
      const manifests: Manifest[] = [];
      let syncId: string | undefined;
      for await (const { key } of bucket.listAll(prefixes.syncs(imageId))) {
        const parsed = parseKey(key) as Extract<Key, { kind: 'sync-manifest' }> | undefined;
        if (parsed?.kind !== 'sync-manifest') continue;
        const found = await bucket.get(key);
        assert(found.status === 'found', `${key} is there`);
        manifests.push((JSON.parse(new TextDecoder().decode(found.body)) as { manifest: Manifest }).manifest);
        ({ syncId } = parsed);
      }
      return syncId === undefined ? undefined : { imageId, syncId, manifests };
    }

    function applyMessages({ imageId, syncId, manifests }: Running): Message[] {
      return manifests.flatMap((manifest) =>
        manifest.pieces.map(({ packs }, piece): Message => {
          const last = manifest.next === null && piece === manifest.pieces.length - 1;
          return { type: 'apply', pool, imageId, syncId, step: manifest.step, piece, packs, last };
        }),
      );
    }

    const completeMessage = ({ imageId, syncId }: Running): Message => ({ type: 'complete', pool, imageId, syncId });

    /** Fetches every manifest, each step by two invocations at once. */
    async function fetchManifests(image: string): Promise<Running> {
      const sync = await syncMessage(image);
      await Promise.all([b.deliver(sync, sync), b.deliver(sync)]);
      for (;;) {
        const running = await runningSync(image);
        assert(running !== undefined, 'a sync is under way');
        if (running.manifests.at(-1)?.next === null) return running;
        const onward: Message = { ...sync, continues: { syncId: running.syncId, step: running.manifests.length } };
        await Promise.all([b.deliver(onward), b.deliver(onward, sync)]);
      }
    }

    const shuffled = <T>(items: readonly T[], seed: number): T[] =>
      items
        .map((item, index) => ({ item, order: sha256(Buffer.from(`${seed} ${index}`)) }))
        .toSorted((x, y) => (x.order < y.order ? -1 : 1))
        .map(({ item }) => item);

    async function deliverBatches(messages: readonly Message[], batchMessagesMax = 10): Promise<void> {
      for (let index = 0; index < messages.length; index += batchMessagesMax)
        await deliverSettled(messages.slice(index, index + batchMessagesMax));
    }

    /** What is to come again comes again at once. */
    const deliverSettled = async (messages: readonly Message[]): Promise<void> => {
      for (let attempts = 0; (await b.deliver(...messages)) > 0; attempts++)
        assert(attempts < attemptsMax, 'messages are settled in the end');
    };

    const headerOf = async (running: Running): Promise<unknown> => {
      const found = await depsOf(b).bucket.get(keyText({ kind: 'header', imageId: running.imageId }));
      return found.status === 'found' ? JSON.parse(new TextDecoder().decode(found.body)) : undefined;
    };

    const first = noise('delivery', 2048 * kibibyte);
    const second = Buffer.from(first);
    noise('delta', 512 * kibibyte).copy(second, 4096);
    let running: Running;

    test('every message of a sync may come twice, at once and in any order: the replica is equal', async () => {
      await importBytes('disk', first, { update: false });
      await clientOf(a).enableImage(specOf('disk'), 'snapshot');
      running = await fetchManifests('disk');
      expect(running.manifests.length).toBeGreaterThan(3);
      const applies = applyMessages(running);
      expect(applies.length).toBeGreaterThan(30);
      const complete = completeMessage(running);
      await b.deliver(complete, complete);
      const half = applies.slice(0, applies.length / 2);
      await Promise.all([deliverBatches(shuffled([...half, ...half], 1)), deliverBatches(shuffled(half, 2))]);
      const { description } = await clientOf(b).imageStatus(specOf('disk'));
      expect(parseReplay(description ?? '')).toMatchObject({ replay_state: 'syncing' });
      await Promise.all([deliverBatches(shuffled([...applies, complete], 3)), deliverBatches(shuffled(applies, 4))]);
      await deliverSettled([complete]);
      await expectReplica('disk', first);
      expect(await failuresOf(b)).toEqual([]);
    });

    test('messages that come again after the sync is complete change nothing', async () => {
      const before = await headerOf(running);
      await deliverBatches(shuffled([...applyMessages(running), completeMessage(running)], 5));
      await b.deliver(await syncMessage('disk'));
      expect(await headerOf(running)).toEqual(before);
      expect(await failuresOf(b)).toEqual([]);
    });

    test('a peer that is away is no failure: messages are done with, and go on once it is back', async () => {
      await importBytes('disk', second, { update: true });
      await clientOf(a).createMirrorSnapshot(specOf('disk'));
      running = await fetchManifests('disk');
      const applies = applyMessages(running);
      await a.stop();
      expect(await b.deliver(...applies.slice(0, 3), completeMessage(running))).toBe(0);
      await b.tick();
      await expectReplica('disk', first);
      await a.start();
      await deliverBatches(applies);
      await deliverSettled([completeMessage(running)]);
      await expectReplica('disk', second);
      expect(await failuresOf(b)).toEqual([]);
    });

    test('a pack that is damaged at the primary is a failure on record, and the image says so until it is repaired', async () => {
      await importBytes('disk', first, { update: true });
      await clientOf(a).createMirrorSnapshot(specOf('disk'));
      running = await fetchManifests('disk');
      const applies = applyMessages(running);
      const packId = running.manifests[0]!.pieces[0]!.packs[0]!.pack;
      const key = keyText({ kind: 'pack', imageId: (await clientOf(a).imageInfo(specOf('disk'))).id, packId });
      const found = await a.driver().get(key);
      assert(found.status === 'found', 'the pack is there');
      const whole = found.body;
      const damaged = Buffer.from(whole);
      damaged[damaged.length - 9]! ^= 0x10;
      await a.overwrite(key, damaged);
      expect(await b.deliver(applies[0]!)).toBe(0);
      expect(await failuresOf(b)).toMatchObject([
        { type: 'apply', why: expect.stringMatching(new RegExp(`^EBADMSG: .*${packId}`)) as string },
      ]);
      expect(await clientOf(b).imageStatus(specOf('disk'))).toMatchObject({
        state: 'up+error',
        description: 'failed to copy remote image',
      });
      await expectReplica('disk', second);
      await a.overwrite(key, whole);
      await deliverBatches([...applies, completeMessage(running)]);
      await expectReplica('disk', first);
      const { description } = await clientOf(b).imageStatus(specOf('disk'));
      expect(parseReplay(description ?? '')).toMatchObject({ replay_state: 'idle' });
    });
  });
}

const clientOf = ({ name, url }: DeliverySite): Client => new Client({ name, url, token, platform: 'test' }, fetch);

function depsOf(site: DeliverySite): ImageDeps {
  const deps = { clock: systemClock, random: systemRandom };
  return { ...deps, bucket: new Bucket(site.driver(), deps), settings: { ...settingsDefault, ...settings } };
}

async function failuresOf({ url }: DeliverySite): Promise<{ type: string; why: string }[]> {
  const answer = await fetch(`${url}/v1/failures`, { headers: { authorization: `Bearer ${token}` } });
  return (await answer.json()) as { type: string; why: string }[];
}
