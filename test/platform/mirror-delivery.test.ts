// Messages of a sync as queues may deliver them, to the Worker in workerd: twice, at once, late and in any order; and what
// becomes of one whose handler fails. The replica's queue has no consumer here: what it would deliver is made by the test from
// the manifests in the bucket, so that no message arrives unless the test sends it.

import { convertV4MiniflareOptions, Miniflare } from 'miniflare';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { choosePort } from '../../infra/local/free-port.ts';
import { miniflareOptions, queueName } from '../../infra/local/miniflare-site.ts';
import { bundleWorker } from '../../infra/local/worker-bundle.ts';
import { Bucket } from '../../lib/bucket/bucket.ts';
import { HttpDriver } from '../../lib/bucket/http.ts';
import { keyText, parseKey, prefixes, type Key } from '../../lib/bucket/keys.ts';
import { Client } from '../../lib/cli/client.ts';
import { exportToFile, openContent } from '../../lib/cli/transfer-export.ts';
import { systemClock } from '../../lib/clock.ts';
import { assert } from '../../lib/errors.ts';
import { settingsDefault, type ImageDeps } from '../../lib/image/deps.ts';
import { startImport } from '../../lib/image/import.ts';
import type { Manifest, Message } from '../../lib/mirror/messages.ts';
import { systemRandom } from '../../lib/random.ts';
import { noise, parseReplay, sha256, sha256OfFile, specOf } from './mirror-pair.ts';

const token = 'fs_admin_test';
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

class WorkerSite {
  readonly name: string;
  readonly directory = mkdtempSync(join(tmpdir(), 'farside delivery '));
  readonly log: string[] = [];
  url = '';
  #miniflare: Miniflare | undefined;
  readonly #hasConsumer: boolean;

  constructor(name: string, { hasConsumer }: { hasConsumer: boolean }) {
    this.name = name;
    this.#hasConsumer = hasConsumer;
  }

  get miniflare(): Miniflare {
    assert(this.#miniflare !== undefined, `${this.name} was started`);
    return this.#miniflare;
  }

  /** Also a restart, with the same address and objects. */
  async start(script: string): Promise<void> {
    this.url ||= `http://127.0.0.1:${await choosePort(systemRandom)}`;
    const config = {
      name: this.name,
      url: this.url,
      platform: 'miniflare',
      adminTokenHash: createHash('sha256').update(token).digest('hex'),
      secret: Buffer.alloc(32, 7).toString('base64'),
      limits,
      settings,
    };
    const log = (line: string): void => void this.log.push(line);
    const port = Number(new URL(this.url).port);
    const options = miniflareOptions({ directory: this.directory, port, config, log }, script);
    if (!this.#hasConsumer) options['queueConsumers'] = {};
    this.#miniflare = new Miniflare(convertV4MiniflareOptions(options));
    await this.#miniflare.ready;
  }

  async stop(): Promise<void> {
    await this.miniflare.dispose();
  }

  get client(): Client {
    return new Client({ name: this.name, url: this.url, token, platform: 'test' }, fetch);
  }

  get deps(): ImageDeps {
    const deps = { clock: systemClock, random: systemRandom };
    const bucket = new Bucket(new HttpDriver({ url: this.url, token, fetch }), deps);
    return { ...deps, bucket, settings: { ...settingsDefault, ...settings } };
  }

  async deliver(...bodies: Message[]) {
    const worker = await this.miniflare.getWorker();
    return worker.queue(
      queueName,
      bodies.map((body, index) => ({ id: String(index), timestamp: new Date(0), attempts: 1, body })),
    );
  }

  async tick(): Promise<void> {
    const worker = await this.miniflare.getWorker();
    await worker.scheduled({ scheduledTime: new Date(), cron: '* * * * *' });
  }

  async failures(): Promise<{ type: string; why: string }[]> {
    const answer = await fetch(`${this.url}/v1/failures`, { headers: { authorization: `Bearer ${token}` } });
    return (await answer.json()) as { type: string; why: string }[];
  }
}

const a = new WorkerSite('site-a', { hasConsumer: true });
const b = new WorkerSite('site-b', { hasConsumer: false });
let script: string;
let peerUuid: string;

beforeAll(async () => {
  script = await bundleWorker();
  await Promise.all([a.start(script), b.start(script)]);
  await Promise.all([a.client.createPool(pool), b.client.createPool(pool)]);
  await a.client.enablePool({ pool, namespace: '' }, { mode: 'image', siteName: 'site-a' });
  const bootstrap = await a.client.createBootstrapToken(pool, {});
  await b.client.importBootstrapToken(pool, { token: bootstrap, direction: 'rx-tx', siteName: 'site-b' });
  const { peers } = (await b.client.poolInfo({ pool, namespace: '' })) as { peers?: { uuid: string }[] };
  peerUuid = peers?.[0]?.uuid ?? '';
  // A site that never ticked tells no status.
  await b.tick();
});
afterAll(async () => {
  await Promise.all([a.stop(), b.stop()]);
  for (const { directory } of [a, b]) rmSync(directory, { recursive: true });
});

async function importBytes(image: string, bytes: Buffer, { update }: { update: boolean }): Promise<void> {
  const running = await startImport(a.deps, specOf(image), { update, objectBytes: 64 * kibibyte, compression: 'none' });
  await running.write(0, bytes);
  await running.finish(bytes.length);
}

async function expectReplica(image: string, bytes: Buffer): Promise<void> {
  const path = join(b.directory, 'replica.out');
  rmSync(path, { force: true });
  await exportToFile(await openContent(b.deps, specOf(image)), path, { update: () => {}, stop: () => {} });
  expect(await sha256OfFile(path)).toBe(sha256(bytes));
}

type SyncMessage = Extract<Message, { type: 'sync' }>;

async function syncMessage(image: string): Promise<SyncMessage> {
  const { global_id } = await a.client.imageStatus(specOf(image));
  return { type: 'sync', pool, peerUuid, globalId: global_id };
}

/** What the bucket of the replica holds of a running sync. */
type Running = { imageId: string; syncId: string; manifests: Manifest[] };

async function runningSync(image: string): Promise<Running | undefined> {
  const { id: imageId } = await b.client.imageInfo(specOf(image));
  const { bucket } = b.deps;
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
    await b.deliver(...messages.slice(index, index + batchMessagesMax));
}

const headerOf = async (running: Running): Promise<unknown> => {
  const found = await b.deps.bucket.get(keyText({ kind: 'header', imageId: running.imageId }));
  return found.status === 'found' ? JSON.parse(new TextDecoder().decode(found.body)) : undefined;
};

describe('delivery to the Worker', { timeout: 120_000 }, () => {
  const first = noise('delivery', 2048 * kibibyte);
  const second = Buffer.from(first);
  noise('delta', 512 * kibibyte).copy(second, 4096);
  let running: Running;

  test('every message of a sync may come twice, at once and in any order: the replica is equal', async () => {
    await importBytes('disk', first, { update: false });
    await a.client.enableImage(specOf('disk'), 'snapshot');
    running = await fetchManifests('disk');
    expect(running.manifests.length).toBeGreaterThan(3);
    const applies = applyMessages(running);
    expect(applies.length).toBeGreaterThan(30);
    const complete = completeMessage(running);
    await b.deliver(complete, complete);
    const half = applies.slice(0, applies.length / 2);
    await Promise.all([deliverBatches(shuffled([...half, ...half], 1)), deliverBatches(shuffled(half, 2))]);
    const { description } = await b.client.imageStatus(specOf('disk'));
    expect(parseReplay(description ?? '')).toMatchObject({ replay_state: 'syncing' });
    await Promise.all([deliverBatches(shuffled([...applies, complete], 3)), deliverBatches(shuffled(applies, 4))]);
    await b.deliver(complete);
    await expectReplica('disk', first);
    expect(await b.failures()).toEqual([]);
  });

  test('messages that come again after the sync is complete change nothing', async () => {
    const before = await headerOf(running);
    await deliverBatches(shuffled([...applyMessages(running), completeMessage(running)], 5));
    await b.deliver(await syncMessage('disk'));
    expect(await headerOf(running)).toEqual(before);
    expect(await b.failures()).toEqual([]);
  });

  test('a peer that is away is no failure: messages are done with, and go on once it is back', async () => {
    await importBytes('disk', second, { update: true });
    await a.client.createMirrorSnapshot(specOf('disk'));
    running = await fetchManifests('disk');
    const applies = applyMessages(running);
    await a.stop();
    const settled = await b.deliver(...applies.slice(0, 3), completeMessage(running));
    expect(settled).toMatchObject({ outcome: 'ok', retryMessages: [] });
    await b.tick();
    await expectReplica('disk', first);
    await a.start(script);
    await deliverBatches(applies);
    await b.deliver(completeMessage(running));
    await expectReplica('disk', second);
    expect(await b.failures()).toEqual([]);
  });

  test('a pack that is damaged at the primary is a failure on record, and the image says so until it is repaired', async () => {
    await importBytes('disk', first, { update: true });
    await a.client.createMirrorSnapshot(specOf('disk'));
    running = await fetchManifests('disk');
    const applies = applyMessages(running);
    const packId = running.manifests[0]!.pieces[0]!.packs[0]!.pack;
    const key = keyText({ kind: 'pack', imageId: (await a.client.imageInfo(specOf('disk'))).id, packId });
    const bucket = await a.miniflare.getR2Bucket('BUCKET');
    const whole = Buffer.from(await (await bucket.get(key))!.arrayBuffer());
    const damaged = Buffer.from(whole);
    damaged[damaged.length - 9]! ^= 0x10;
    await bucket.put(key, damaged);
    const settled = await b.deliver(applies[0]!);
    expect(settled).toMatchObject({ outcome: 'ok', explicitAcks: ['0'], retryMessages: [] });
    expect(await b.failures()).toMatchObject([
      { type: 'apply', why: expect.stringMatching(new RegExp(`^EBADMSG: .*${packId}`)) as string },
    ]);
    expect(await b.client.imageStatus(specOf('disk'))).toMatchObject({
      state: 'up+error',
      description: 'failed to copy remote image',
    });
    await expectReplica('disk', second);
    await bucket.put(key, whole);
    await deliverBatches([...applies, completeMessage(running)]);
    await expectReplica('disk', first);
    const { description } = await b.client.imageStatus(specOf('disk'));
    expect(parseReplay(description ?? '')).toMatchObject({ replay_state: 'idle' });
  });
});
