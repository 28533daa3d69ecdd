// Ticks and schedules, with a clock that the test moves.

import { beforeEach, expect, test } from 'vitest';

import type { TestSite } from './harness.ts';
import { TestNetwork } from './network.ts';

const minuteMs = 60_000;

let network: TestNetwork;
let a: TestSite;
let b: TestSite;

beforeEach(async () => {
  network = new TestNetwork();
  [a, b] = await network.addPair();
  await network.introduce(a, b, 'rx-only');
  await network.settle();
});

const addImage = async (name: string): Promise<void> => {
  await a.ok('POST', '/v1/pools/rbd/images', { name, sizeBytes: 1 });
  await a.ok('POST', `/v1/pools/rbd/images/${name}/mirror`, { mode: 'snapshot' });
};
/** Ids rise with every snapshot, also of those that were pruned since. */
const newestId = async (name: string): Promise<number> =>
  (await a.ok('GET', `/v1/pools/rbd/images/${name}/snaps?all=true`)).json.at(-1).id;
const later = async (durationMs: number): Promise<void> => {
  a.clock.setMs(a.clock.nowMs() + durationMs);
  await network.tick();
};
const nextMinute = (): number => minuteMs - (a.clock.nowMs() % minuteMs);

test('tick: takes the snapshot of a due slot once, and the replica follows', async () => {
  await addImage('disk');
  await network.settle();
  await later(nextMinute() + 5 * minuteMs);
  const before = (await b.ok('GET', '/v1/pools/rbd/images/disk/snaps?all=true')).json;
  await a.ok('POST', '/v1/schedules?pool=rbd', { interval: '1h' });
  a.clock.setMs(Date.UTC(2026, 10, 23, 8, 0, 1));
  await network.tick();
  await network.tick();
  const after = (await b.ok('GET', '/v1/pools/rbd/images/disk/snaps?all=true')).json;
  expect(after.at(-1).namespace).toMatchObject({ state: 'non-primary', complete: true });
  expect(after.at(-1).namespace.primary_snap_id).toBe(before.at(-1).namespace.primary_snap_id + 1);
});

test('tick: a site that was down over several slots takes one snapshot when it is back', async () => {
  await addImage('disk');
  await a.ok('POST', '/v1/schedules?pool=rbd&image=disk', { interval: '10m' });
  await later(1000);
  const before = await newestId('disk');
  await later(35 * minuteMs);
  await later(minuteMs);
  expect(await newestId('disk')).toBe(before + 1);
  const { json } = await a.ok('GET', '/v1/schedules/status');
  expect(json).toEqual([{ schedule_time: expect.stringMatching(/^2026-11-23 07:[345]0:00$/), image: 'rbd/disk' }]);
});

test('tick: the most specific level wins, and 0d is never due', async () => {
  await addImage('often');
  await addImage('never');
  await a.ok('POST', '/v1/schedules', { interval: '1m' });
  await a.ok('POST', '/v1/schedules?pool=rbd&image=never', { interval: '0d' });
  await later(nextMinute());
  const before = [await newestId('often'), await newestId('never')];
  await later(minuteMs);
  await later(minuteMs);
  expect([await newestId('often'), await newestId('never')]).toEqual([before[0]! + 2, before[1]]);
  const rows = (await a.ok('GET', '/v1/schedules/status')).json;
  expect(rows.map(({ image }: { image: string }) => image)).toEqual(['rbd/often']);
});

test('tick: more due images than one tick takes itself are sent as messages', async () => {
  for (let index = 0; index < 12; index++) await addImage(`disk-${index}`);
  await network.settle();
  await a.ok('POST', '/v1/schedules', { interval: '1m' });
  a.clock.setMs(a.clock.nowMs() + nextMinute());
  await a.site.tick(a.clock.nowMs());
  expect(a.queue.sent.filter(({ type }) => type === 'snapshot')).toHaveLength(4);
});

test('I11: a tick of an idle site costs the same with 3 and with 40 mirrored images', async () => {
  const cost = async (): Promise<number[]> => {
    await later(minuteMs);
    await later(minuteMs);
    await later(minuteMs);
    const before = [a, b].map((site) => site.bucket.counts());
    await later(minuteMs);
    return [a, b].flatMap((site, index) => {
      const after = site.bucket.counts();
      return [after.A - before[index]!.A, after.B - before[index]!.B];
    });
  };
  for (let index = 0; index < 3; index++) await addImage(`disk-${index}`);
  await network.settle();
  const few = await cost();
  for (let index = 3; index < 40; index++) await addImage(`disk-${index}`);
  await network.settle();
  expect(await cost()).toEqual(few);
  expect(few[0]! + few[1]! + few[2]! + few[3]!).toBeLessThan(30);
});

test('tick: one broken pool does not keep the others from theirs', async () => {
  await a.ok('POST', '/v1/pools', { name: 'broken' });
  await addImage('disk');
  await a.ok('POST', '/v1/schedules?pool=rbd', { interval: '1m' });
  await later(nextMinute());
  const get = a.driver.get.bind(a.driver);
  a.driver.get = async (key, options) => {
    if (key === 'pools/broken/pool.json') throw new Error('broken');
    return get(key, options);
  };
  const before = await newestId('disk');
  await later(minuteMs);
  expect(await newestId('disk')).toBe(before + 1);
  expect(a.log.join()).toContain("pool 'broken'");
});

test('schedules: added, listed, shown by level, removed, as in rbd', async () => {
  await addImage('disk');
  const code = async (method: string, path: string, body?: unknown) => (await a.call(method, path, body)).json?.error;
  expect((await code('GET', '/v1/schedules')).code).toBe('ENOENT');
  expect((await a.ok('GET', '/v1/schedules?recursive=true')).json).toEqual([]);
  await a.ok('POST', '/v1/schedules', { interval: '1440' });
  await a.ok('POST', '/v1/schedules?pool=rbd&image=disk', { interval: '90m', startTime: '14:00:00-05:00' });
  await a.ok('POST', '/v1/schedules?pool=rbd&image=disk', { interval: '90m', startTime: '14:00:00-05:00' });
  expect((await code('GET', '/v1/schedules?pool=rbd')).code).toBe('ENOENT');
  expect((await a.ok('GET', '/v1/schedules?pool=rbd&image=disk')).json).toEqual([
    { interval: '90m', start_time: '14:00:00-05:00' },
  ]);
  await a.ok('PATCH', '/v1/pools/rbd/images/disk', { name: 'renamed' });
  expect((await a.ok('GET', '/v1/schedules?recursive=true')).json).toEqual([
    { pool: '-', namespace: '-', image: '-', items: [{ interval: '1d', start_time: '' }] },
    { pool: 'rbd', namespace: '', image: 'renamed', items: [{ interval: '90m', start_time: '14:00:00-05:00' }] },
  ]);
  expect((await a.ok('GET', '/v1/schedules?pool=rbd&recursive=true')).json).toHaveLength(1);
  await a.ok('DELETE', '/v1/schedules?pool=rbd&image=renamed&interval=3m');
  await a.ok('DELETE', '/v1/schedules?pool=rbd&image=renamed');
  expect((await code('GET', '/v1/schedules?pool=rbd&image=renamed')).code).toBe('ENOENT');
  expect(await code('POST', '/v1/schedules?pool=rbd', { interval: '1w' })).toEqual({
    code: 'EINVAL',
    message: 'Invalid interval (1w)',
  });
  expect((await code('POST', '/v1/schedules?pool=nopool', { interval: '1m' })).message).toBe(
    'Invalid level spec nopool/: pool nopool does not exist',
  );
  expect((await code('POST', '/v1/schedules?pool=rbd&image=no', { interval: '1m' })).message).toBe(
    'Invalid level spec rbd/no: image no does not exist',
  );
  await a.ok('POST', '/v1/pools/rbd/images', { name: 'plain', sizeBytes: 1 });
  expect((await code('POST', '/v1/schedules?pool=rbd&image=plain', { interval: '1m' })).message).toContain(
    'is not in snapshot mirror mode',
  );
  expect((await code('POST', '/v1/schedules?image=plain', { interval: '1m' })).code).toBe('EINVAL');
});

test('schedules: a client sees and changes those of its own pool only', async () => {
  await a.ok('POST', '/v1/pools', { name: 'other' });
  const token = await a.clientToken('rbd');
  expect((await a.call('POST', '/v1/schedules?pool=rbd', { interval: '1m' }, token)).status).toBe(204);
  expect((await a.call('POST', '/v1/schedules?pool=other', { interval: '1m' }, token)).status).toBe(403);
  expect((await a.call('POST', '/v1/schedules?pool=rbd&pool=other', { interval: '1m' }, token)).status).not.toBe(204);
  expect((await a.call('POST', '/v1/schedules', { interval: '1m' }, token)).status).toBe(403);
});
