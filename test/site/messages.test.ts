// Messages, failures and dead letters; sealing; the start of a site.

import { expect, test } from 'vitest';

import type { Driver, PutCondition, PutOutcome } from '../../lib/bucket/driver.ts';
import { messageSchema } from '../../lib/mirror/messages.ts';
import { systemRandom } from '../../lib/random.ts';
import { Seal } from '../../lib/site/seal.ts';
import { TestSite } from './harness.ts';

const failures = async (site: TestSite) => (await site.ok('GET', '/v1/failures')).json;

test('messages: what is no message is recorded once and acknowledged', async () => {
  const site = new TestSite();
  for (const message of [
    undefined,
    null,
    5,
    'text',
    [],
    {},
    { type: 'nonsense' },
    { type: 'remove' },
    { type: 'remove', imageId: 5 },
  ]) {
    expect(await site.site.handle(message)).toEqual({ kind: 'ack' });
    expect(await site.site.handle(message)).toEqual({ kind: 'ack' });
  }
  const recorded = await failures(site);
  expect(recorded).toHaveLength(9);
  expect(recorded.map(({ count }: { count: number }) => count)).toEqual(Array(9).fill(2));
});

test('messages: one that can never succeed is recorded and acknowledged', async () => {
  const site = new TestSite();
  expect(await site.site.handle({ type: 'remove', imageId: 'no id' })).toEqual({ kind: 'ack' });
  expect(
    await site.site.handle({ type: 'snapshot', pool: 'nopool', imageId: '0123456789abcdef01234567', slotMs: 0 }),
  ).toEqual({ kind: 'ack' });
  expect((await failures(site)).map(({ type }: { type: string }) => type)).toContain('snapshot');
});

test('messages: a passing fault is retried, later with every attempt', async () => {
  const site = new TestSite();
  await site.site.start();
  const { driver } = site;
  const { FarsideError } = await import('../../lib/errors.ts');
  driver.get = async () => {
    throw new FarsideError('EAGAIN', 'throttled', { retry: 'later' });
  };
  const message = { type: 'remove', imageId: '0123456789abcdef01234567' };
  const delays: number[] = [];
  for (const attempts of [1, 4, 8]) {
    const outcome = await site.site.handle(message, attempts);
    delays.push(outcome.kind === 'retry' ? outcome.delayMs : -1);
  }
  expect(delays[0]).toBeGreaterThan(0);
  expect(delays[1]).toBeGreaterThan(delays[0]!);
  expect(delays[2]).toBeGreaterThan(delays[1]!);
});

test('messages: a bug is thrown on, for the runtime to log and retry', async () => {
  const site = new TestSite();
  await site.site.start();
  site.driver.get = async () => {
    throw new TypeError('bug');
  };
  await expect(site.site.handle({ type: 'remove', imageId: '0123456789abcdef01234567' })).rejects.toThrow('bug');
});

test('messages: every type has a handler that does nothing for what does not exist', async () => {
  const site = new TestSite();
  await site.ok('POST', '/v1/pools', { name: 'rbd' });
  const imageId = '0123456789abcdef01234567';
  const peerUuid = '71249ac3-c569-4c3d-a9d0-50c2f0482888';
  const messages = [
    { type: 'snapshot', pool: 'rbd', imageId, slotMs: 0 },
    { type: 'delta', pool: 'rbd', imageId, targetSnapId: 1, deltaId: 'abc', step: 1 },
    { type: 'sync', pool: 'rbd', peerUuid, globalId: peerUuid },
    { type: 'apply', pool: 'rbd', imageId, syncId: 'abc', step: 0, piece: 0, packs: [], last: true },
    { type: 'complete', pool: 'rbd', imageId, syncId: 'abc' },
    { type: 'poll', pool: 'rbd', peerUuid },
    { type: 'collect', imageId, run: 'abc', step: 0 },
    { type: 'flatten', imageId },
    { type: 'purge', pool: 'none', dueMs: 0 },
    { type: 'by-feature', pool: 'rbd', namespace: '' },
    { type: 'remove', imageId },
  ];
  expect(messages.map(({ type }) => type).toSorted()).toEqual(
    messageSchema.options.map((option) => option.shape.type.value).toSorted(),
  );
  for (const message of messages)
    expect([message.type, await site.site.handle(message)]).toEqual([message.type, { kind: 'ack' }]);
  expect(site.queue.sent).toEqual([]);
  expect(await failures(site)).toEqual([]);
});

test('dead letters: are recorded with why, shown newest first, and can be forgotten', async () => {
  const site = new TestSite();
  await site.site.deadLetter({ type: 'poll', pool: 'rbd' }, 'not handled after 11 attempts');
  site.clock.setMs(site.clock.nowMs() + 1000);
  await site.site.deadLetter({ type: 'sync', secret: 'x'.repeat(100_000) }, 'y'.repeat(100_000));
  const recorded = await failures(site);
  expect(recorded.map(({ type }: { type: string }) => type)).toEqual(['sync', 'poll']);
  expect(recorded[1]).toMatchObject({ why: 'not handled after 11 attempts', count: 1 });
  expect(JSON.stringify(recorded).length).toBeLessThan(5000);
  await site.ok('DELETE', '/v1/failures');
  expect(await failures(site)).toEqual([]);
});

test('seal: text comes back; changed text, other secrets and other versions do not', async () => {
  const seal = new Seal(Buffer.alloc(32, 1).toString('base64'), systemRandom);
  const sealed = await seal.seal('the key ü');
  expect(await seal.unseal(sealed)).toBe('the key ü');
  expect(sealed).not.toContain('key');
  expect(await seal.seal('the key ü')).not.toBe(sealed);
  const changed = sealed.slice(0, -2) + (sealed.endsWith('AA') ? 'BB' : 'AA');
  const other = new Seal(Buffer.alloc(32, 2).toString('base64'), systemRandom);
  for (const text of [changed, '', 'v2.a.b', 'v1.a', 'v1..', `${sealed}.x`]) {
    await expect(seal.unseal(text)).rejects.toMatchObject({ code: 'EBADMSG' });
  }
  await expect(other.unseal(sealed)).rejects.toMatchObject({ code: 'EBADMSG' });
  expect(() => new Seal('c2hvcnQ=', systemRandom)).toThrow('at least 32');
});

test('start: the site makes its identity and keeps it over restarts', async () => {
  const site = new TestSite();
  const first = (await site.ok('GET', '/v1/site')).json;
  const again = new TestSite({ bucket: site.bucket });
  expect((await again.ok('GET', '/v1/site')).json.site_id).toBe(first.site_id);
  expect(first).toMatchObject({ name: 'site-a', url: 'https://site-a.test', platform: 'test', pools: [] });
  expect(first.site_id).toMatch(/^[0-9a-f-]{36}$/);
});

test('start: a bucket that ignores conditions is refused, and health says so', async () => {
  const site = new TestSite();
  const driver: Driver = site.driver;
  const put = driver.put.bind(driver);
  driver.put = (key: string, body: Uint8Array, _condition: PutCondition): Promise<PutOutcome> => put(key, body, 'none');
  await expect(site.site.start()).rejects.toMatchObject({ code: 'EOPNOTSUPP' });
  const health = await site.call('GET', '/health', undefined, null);
  expect(health).toMatchObject({ status: 503, json: { status: 'failing' } });
  expect((await site.call('GET', '/v1/pools')).json.error.code).toBe('EOPNOTSUPP');
  const strangers = [null, 'nonsense'].map((token) => site.call('GET', '/v1/pools', undefined, token));
  for (const answer of await Promise.all(strangers))
    expect(answer).toMatchObject({
      status: 500,
      json: { error: { code: 'EIO', message: 'the site cannot start: its log says why' } },
    });
});

test('start: a passing fault at the first call does not stick', async () => {
  const site = new TestSite();
  const get = site.driver.get.bind(site.driver);
  site.driver.get = async () => {
    throw new Error('not now');
  };
  expect((await site.call('GET', '/v1/pools')).status).toBe(500);
  site.driver.get = get;
  expect((await site.call('GET', '/v1/pools')).status).toBe(200);
});

test('start: calls that come together agree on one identity', async () => {
  const site = new TestSite();
  const answers = await Promise.all([1, 2, 3].map(() => site.ok('GET', '/v1/site')));
  expect(new Set(answers.map(({ json }) => json.site_id)).size).toBe(1);
});
