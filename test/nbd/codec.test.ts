// The pure parts: bytes in whatever cuts, replies that read back, plans that cover.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Budget } from '../../lib/nbd/budget.ts';
import type { Extent } from '../../lib/nbd/device.ts';
import { Inbox } from '../../lib/nbd/inbox.ts';
import { parseExportRequest, parseMetaRequest, parseText, shortText } from '../../lib/nbd/option-codec.ts';
import { joinExtents, planRead } from '../../lib/nbd/read-plan.ts';
import { parseRequest } from '../../lib/nbd/request-codec.ts';
import { seededRandom } from '../image/model.ts';
import { exportRequest, metaRequest, requestHeader } from './raw-client.ts';

const KiB = 1024;

describe('inbox', () => {
  test('whatever chunks the bytes come in, before or after they are asked for, the amounts are exact', async () => {
    const amounts = fc.array(fc.record({ bytes: fc.nat(300), how: fc.constantFrom('exact', 'fill', 'skip') }), {
      maxLength: 20,
    });
    await fc.assert(
      fc.asyncProperty(
        amounts,
        fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1 }),
        fc.boolean(),
        async (asked, cuts, early) => {
          const total = asked.reduce((sum, { bytes }) => sum + bytes, 0);
          const content = Buffer.from(seededRandom(total).bytes(total));
          const inbox = new Inbox({ pause: () => {}, resume: () => {} });
          const sendAll = async (): Promise<void> => {
            for (let at = 0, index = 0; at < total; at += cuts[index++ % cuts.length]!) {
              inbox.push(content.subarray(at, at + cuts[index % cuts.length]!));
              if (!early) await Promise.resolve();
            }
          };
          if (early) await sendAll();
          await Promise.all([early ? undefined : sendAll(), takeAll(inbox, content, asked)]);
          expect(inbox.bufferedBytes).toBe(0);
        },
      ),
      { numRuns: 200, seed: 1 },
    );
  });

  test('the end is told to whoever waits; what had come can still be read, unless it is dropped', async () => {
    const inbox = new Inbox({ pause: () => {}, resume: () => {} });
    const waiting = inbox.exact(4);
    inbox.push(Buffer.from('abc'));
    inbox.end();
    expect(await waiting).toBeUndefined();
    const other = new Inbox({ pause: () => {}, resume: () => {} });
    other.push(Buffer.from('abcdef'));
    other.end();
    expect((await other.exact(3))!.toString()).toBe('abc');
    other.drop();
    expect(await other.skip(1)).toBe(false);
  });

  test('the sender is held back while nobody reads, and let go on when somebody does', async () => {
    const told: string[] = [];
    const inbox = new Inbox({ pause: () => told.push('pause'), resume: () => told.push('resume') });
    for (let count = 0; count < 6; count++) inbox.push(Buffer.alloc(64 * KiB));
    expect(told).toEqual(['pause']);
    await inbox.skip(6 * 64 * KiB);
    expect(told).toEqual(['pause', 'resume']);
  });
});

async function takeAll(inbox: Inbox, content: Buffer, asked: readonly { bytes: number; how: string }[]): Promise<void> {
  let at = 0;
  for (const { bytes, how } of asked) {
    expect((await taken(inbox, bytes, how))?.equals(content.subarray(at, at + bytes)) ?? how === 'skip').toBe(true);
    at += bytes;
  }
}

/** undefined: it was skipped, or did not come. */
async function taken(inbox: Inbox, byteCount: number, how: string): Promise<Buffer | undefined> {
  if (how === 'exact') return await inbox.exact(byteCount);
  const target = Buffer.alloc(byteCount);
  if (how === 'fill') return (await inbox.fill(target)) ? target : undefined;
  if (!(await inbox.skip(byteCount))) throw new Error('the inbox ended');
  return undefined;
}

test('budget: what is granted never exceeds the limit, in order, and everybody is served', async () => {
  const budget = new Budget(10);
  const order: number[] = [];
  const take = async (amount: number, index: number): Promise<void> => {
    await budget.acquire(amount);
    order.push(index);
    expect(budget.used).toBeLessThanOrEqual(10);
    await new Promise((resolve) => setImmediate(resolve));
    budget.release(amount);
  };
  await Promise.all([4, 6, 10, 1, 9, 0, 3].map(take));
  expect(order).toEqual([0, 1, 2, 3, 4, 5, 6]);
  expect(budget.used).toBe(0);
  await expect(budget.acquire(11)).rejects.toThrow('farside bug');
});

describe('codec', () => {
  const name = fc.string({ unit: 'grapheme', maxLength: 60 }).filter((one) => !one.includes('\0'));

  test('requests for exports and contexts read back as they were written', () => {
    fc.assert(
      fc.property(
        name,
        fc.array(name, { maxLength: 5 }),
        fc.array(fc.nat(65_535), { maxLength: 5 }),
        (export_, queries, infoTypes) => {
          expect(parseExportRequest(exportRequest(export_, infoTypes))).toEqual({ name: export_, infoTypes });
          expect(parseMetaRequest(metaRequest(export_, queries))).toEqual({ name: export_, queries });
        },
      ),
      { seed: 1 },
    );
  });

  test('requests read back, with offsets exact to 2^53', () => {
    const fields = fc.record({
      flags: fc.nat(65_535),
      offset: fc.maxSafeNat(),
      length: fc.nat(2 ** 32 - 1),
      cookie: fc.maxSafeNat(),
    });
    fc.assert(
      fc.property(fc.nat(65_535), fields, (type, given) => {
        const { flags, offset, length, cookie } = parseRequest(requestHeader(type, given))!;
        expect({ flags, offset, length, cookie: cookie.high * 2 ** 32 + cookie.low }).toEqual(given);
      }),
      { seed: 1 },
    );
  });

  test('a text that is too long is cut between characters', () => {
    for (const text of ['ü'.repeat(3000), `a${'ü'.repeat(3000)}`, '🙂'.repeat(2000), 'x'.repeat(5000), 'short']) {
      const cut = shortText(text);
      expect(cut.length).toBeLessThanOrEqual(4096);
      expect(text.startsWith(parseText(cut)!)).toBe(true);
      expect(cut.length).toBeGreaterThan(Math.min(Buffer.byteLength(text), 4096) - 4);
    }
  });
});

describe('read plan', () => {
  const extents = fc.array(fc.record({ length: fc.integer({ min: 1, max: 64 * KiB }), hole: fc.boolean() }), {
    maxLength: 100,
  });

  test('pieces cover the range once, in order; holes are holes of the device', () => {
    fc.assert(
      fc.property(extents, fc.integer({ min: 1, max: 1024 * KiB }), fc.nat(2 ** 40), (found, length, offset) => {
        const pieces = planRead(offset, length, found);
        let position = offset;
        for (const piece of pieces) {
          expect(piece.offset).toBe(position);
          expect(piece.length).toBeGreaterThan(0);
          expect(!piece.hole || isHole(found, piece.offset - offset, piece.length)).toBe(true);
          position += piece.length;
        }
        expect(position).toBe(offset + length);
        expect(pieces.length).toBeLessThanOrEqual(65);
      }),
      { seed: 1 },
    );
  });

  test('extents of a status never alike in a row, within the range, and as many as allowed', () => {
    fc.assert(
      fc.property(
        extents,
        fc.integer({ min: 1, max: 1024 * KiB }),
        fc.integer({ min: 1, max: 10 }),
        (found, length, count) => {
          const joined = joinExtents(found, length, count);
          expect(joined.length).toBeLessThanOrEqual(count);
          expect(joined.reduce((sum, one) => sum + one.length, 0)).toBeLessThanOrEqual(length);
          expect(joined.some((one, index) => one.hole === joined[index + 1]?.hole)).toBe(false);
          expect(joined.length === 0).toBe(found.length === 0);
        },
      ),
      { seed: 1 },
    );
  });
});

function isHole(extents: readonly Extent[], from: number, length: number): boolean {
  let position = 0;
  return extents.every((extent) => {
    const overlaps = position < from + length && position + extent.length > from;
    position += extent.length;
    return !overlaps || extent.hole;
  });
}
