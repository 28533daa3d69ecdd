import { expect, test } from 'vitest';

import { MemoryDriver } from '../../lib/bucket/memory.ts';
import { systemClock } from '../../lib/clock.ts';
import { describeBucket } from './conformance.ts';

describeBucket('memory', async () => {
  const driver = new MemoryDriver(systemClock);
  return { open: () => driver, close: async () => undefined };
});

test('equal content has an equal tag, as on R2, so tests meet the A-B-A trap', async () => {
  const driver = new MemoryDriver(systemClock);
  const one = await driver.put('a', Buffer.from('same'), 'absent');
  expect(await driver.put('b', Buffer.from('same'), 'absent')).toEqual(one);
});

test('bodies are copied in and out', async () => {
  const driver = new MemoryDriver(systemClock);
  const body = new Uint8Array([1, 2, 3]);
  await driver.put('a', body, 'absent');
  body.fill(9);
  const first = await driver.get('a');
  (first as { body: Uint8Array }).body.fill(8);
  expect(await driver.get('a')).toMatchObject({ body: new Uint8Array([1, 2, 3]) });
});

test('the work is done before the call returns its promise', async () => {
  const driver = new MemoryDriver(systemClock);
  const put = driver.put('a', new Uint8Array(), 'absent');
  const removed = driver.delete(['a']);
  expect(await driver.head('a')).toBeUndefined();
  expect(await put).toMatchObject({ status: 'stored' });
  await removed;
});
