import fc from 'fast-check';
import { expect, test } from 'vitest';
import { backOffMs, delaySeconds, delaySecondsMax, deliver } from '../../lib/site/delivery.ts';

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
      expect(outcome).toEqual({ kind: 'retry', delayMs: 500 });
    }),
  );
});
