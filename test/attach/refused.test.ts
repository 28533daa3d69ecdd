// A writer whose bucket refuses it: credentials expire and are renewed, so what was written is kept and tried on for a while.

import { describe, expect, test } from 'vitest';
import { AttachedImage } from '../../lib/attach/attached-image.ts';
import { attachLimitsDefault } from '../../lib/attach/limits.ts';
import { FarsideError } from '../../lib/errors.ts';
import { createImage } from '../../lib/image/images.ts';
import { memorySite, readImage, spec, type MemorySite } from '../image/model.ts';
import { interposed } from './interposed.ts';

const owner = { lockId: 'auto 1', locker: 'client.1', address: 'here:0/1', sinceMs: 0 };
const limits = { ...attachLimitsDefault, flushPatienceMs: 24 * 3600 * 1000 };
const isSlot = (key: string): boolean => key.includes('/journal/');

async function refused(timesMax: number) {
  const deps = await memorySite();
  await createImage(deps, spec('vm'), { sizeBytes: 64 * 1024, objectBytes: 16 * 1024 });
  const told: number[] = [];
  const beganMs = deps.clock.nowMs();
  const refuse = async (): Promise<never> => {
    throw new FarsideError('EACCES', 'the security token has expired');
  };
  const onRefused = (): unknown => told.push(deps.clock.nowMs() - beganMs);
  const site = interposed(deps, isSlot, refuse, timesMax);
  const image = await AttachedImage.open(site, spec('vm'), { owner, limits, onRefused });
  await image.write(0, Buffer.alloc(4096, 1));
  return { deps, image, told, beganMs };
}

describe('a writer whose bucket refuses what it writes', () => {
  test('goes on once it is accepted again, with everything, and says meanwhile each minute what is wrong', async () => {
    const { deps, image, told, beganMs } = await refused(50);
    await image.flush();
    expect(deps.clock.nowMs() - beganMs).toBeGreaterThan(180_000);
    expect(told.length).toBeGreaterThanOrEqual(3);
    expect(told.length).toBeLessThanOrEqual(8);
    expect(told[0]).toBe(0);
    await image.close();
    expect((await readImage(deps, 'vm'))[0]).toBe(1);
  });

  test('fails with an input/output error after a quarter of an hour', async () => {
    const { deps, image, beganMs } = await refused(100_000);
    await expect(image.flush()).rejects.toMatchObject({
      code: 'EIO',
      message: expect.stringContaining('the security token has expired'),
    });
    expect(deps.clock.nowMs() - beganMs).toBeGreaterThanOrEqual(limits.refusalPatienceMs);
    expect(deps.clock.nowMs() - beganMs).toBeLessThan(limits.refusalPatienceMs + 60_000);
    expect(image.failure).toMatchObject({ code: 'EIO' });
  });
});

describe('an image that is being given back', () => {
  const slots = 4;

  /** `happens` to each of some segments, of which nothing is in the bucket yet. */
  async function ending(happens: (deps: MemorySite) => Promise<unknown>) {
    const deps = await memorySite();
    await createImage(deps, spec('vm'), { sizeBytes: 64 * 1024, objectBytes: 16 * 1024 });
    const site = interposed(deps, isSlot, () => happens(deps), 1000);
    const small = { ...limits, segmentBytesMax: 4096 };
    const image = await AttachedImage.open(site, spec('vm'), { owner, limits: small });
    for (let at = 0; at < slots; at++) await image.write(at * 4096, Buffer.alloc(4096, at + 1));
    image.writing.patience.hurry();
    return { deps, image, beganMs: deps.clock.nowMs() };
  }

  test('waits for a bucket that is slow, as long as it takes something', async () => {
    const { deps, image, beganMs } = await ending(({ clock }) => clock.sleep(50_000));
    await image.close();
    expect(deps.clock.nowMs() - beganMs).toBeGreaterThanOrEqual(slots * 50_000);
    expect((await readImage(deps, 'vm'))[(slots - 1) * 4096]).toBe(slots);
  });

  test('is given up a minute after the bucket took nothing any more, though a flush would wait for longer', async () => {
    const { deps, image, beganMs } = await ending(async () => {
      throw new FarsideError('ETIMEDOUT', 'no answer', { retry: 'later' });
    });
    await expect(image.flush()).rejects.toMatchObject({ code: 'EIO', message: expect.stringContaining('within 60 s') });
    await expect(image.close()).rejects.toMatchObject({ code: 'EIO' });
    const { endPatienceMs } = attachLimitsDefault;
    expect(deps.clock.nowMs() - beganMs).toBeGreaterThanOrEqual(endPatienceMs);
    expect(deps.clock.nowMs() - beganMs).toBeLessThan(2 * endPatienceMs);
    expect(image.writing.pendingBytes).toBeGreaterThan(0);
  });
});
