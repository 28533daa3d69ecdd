import fc from 'fast-check';
import { expect, test } from 'vitest';
import { FarsideError } from '../../lib/errors.ts';
import { backOffMs, delaySeconds, delaySecondsMax, deliver, deliverySettings } from '../../lib/site/delivery.ts';

const fraction = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

test('back-off grows with the attempts, is jittered by at most a half, and never exceeds five minutes', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 10_000 }), fraction, (attempts, jitter) => {
      const ceilingMs = Math.min(300_000, 1000 * 2 ** (attempts - 1));
      expect(backOffMs(attempts, jitter)).toBeGreaterThanOrEqual(ceilingMs / 2);
      expect(backOffMs(attempts, jitter)).toBeLessThanOrEqual(ceilingMs);
    }),
  );
});

test('a delay in seconds is never earlier than asked, and never more than the platform takes', () => {
  expect([0, 1, 999, 1000, 1001].map(delaySeconds)).toEqual([0, 1, 1, 1, 2]);
  expect(delaySeconds(-5)).toBe(0);
  expect(delaySeconds(365 * 24 * 3_600_000)).toBe(delaySecondsMax);
});

test('deliver never throws, whatever a message or a handler holds', async () => {
  await fc.assert(
    fc.asyncProperty(fc.anything(), fc.anything(), async (body, thrown) => {
      const consumer = { handle: () => Promise.reject(thrown), deadLetter: () => Promise.resolve() };
      const random = { bytes: () => new Uint8Array(), uuid: () => '', fraction: () => 0 };
      const outcome = await deliver(consumer, { body, attempts: 1 }, { random, log: () => undefined });
      expect(outcome).toMatchObject({ kind: 'retry', delayMs: 500 });
    }),
  );
});

const deps = {
  random: { bytes: () => new Uint8Array(), uuid: () => '', fraction: () => 0 },
  log: () => undefined,
};

test.each([
  ['a handler that throws', () => Promise.reject(new FarsideError('EIO', 'R2 is away')), 'EIO: R2 is away'],
  ['a handler that wants another try', async () => ({ kind: 'retry' as const, delayMs: 1, why: 'busy' }), 'busy'],
])('the last attempt of %s is recorded with its error, and the message is done with', async (_, handle, why) => {
  const dead: unknown[] = [];
  const consumer = { handle, deadLetter: async (...letter: unknown[]) => void dead.push(letter) };
  const { retriesMax } = deliverySettings;
  expect(await deliver(consumer, { body: 'm', attempts: retriesMax }, deps)).toMatchObject({ kind: 'retry' });
  expect(dead).toEqual([]);
  expect(await deliver(consumer, { body: 'm', attempts: retriesMax + 1 }, deps)).toEqual({ kind: 'ack' });
  expect(dead).toEqual([['m', `not handled after ${retriesMax + 1} attempts; the last said: ${why}`]]);
});

test("a last attempt that cannot be recorded stays on the queue, for the platform's own dead letters", async () => {
  const away = (): Promise<never> => Promise.reject(new Error('bucket is away'));
  const outcome = await deliver({ handle: away, deadLetter: away }, { body: 'm', attempts: 11 }, deps);
  expect(outcome).toMatchObject({ kind: 'retry' });
});
