// A writer whose bucket refuses it: credentials expire and are renewed, so what was written is kept and tried on for a while.

import { describe, expect, test } from 'vitest';
import { AttachedImage } from '../../lib/attach/attached-image.ts';
import { attachLimitsDefault } from '../../lib/attach/limits.ts';
import { FarsideError } from '../../lib/errors.ts';
import { createImage } from '../../lib/image/images.ts';
import { memorySite, readImage, spec } from '../image/model.ts';
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
