// The end of a server whose bucket does not answer any more: it comes in bounded time, says what was not done, and nothing that was
// flushed is lost.

import { join } from 'node:path';
import { expect, test } from 'vitest';
import { AttachedImage } from '../../lib/attach/attached-image.ts';
import { attachLimitsDefault, type AttachLimits } from '../../lib/attach/limits.ts';
import { Bucket } from '../../lib/bucket/bucket.ts';
import { createDocument } from '../../lib/bucket/document.ts';
import { keyText } from '../../lib/bucket/keys.ts';
import { MemoryDriver } from '../../lib/bucket/memory.ts';
import { writableDevice } from '../../lib/cli/nbd/device.ts';
import { serveExports } from '../../lib/cli/nbd/serving.ts';
import { systemClock } from '../../lib/clock.ts';
import { settingsDefault, type ImageDeps } from '../../lib/image/deps.ts';
import { createImage } from '../../lib/image/images.ts';
import { systemRandom } from '../../lib/random.ts';
import { spec } from '../image/model.ts';
import { RawClient } from '../nbd/raw-client.ts';
import { makeDirectory } from '../nbd/served.ts';

const mebibyte = 2 ** 20;
const patienceMs = 500;
/** Of the flush at the end and of detaching, each noticed within a second, on a busy machine. */
const endMsMax = 10_000;
const cmd = { write: 1, flush: 3 };
const owner = { lockId: 'auto 1', locker: 'client.1', address: 'here:0/1', sinceMs: 0 };

/** A store that hangs: it takes requests and answers none. */
class HangingDriver extends MemoryDriver {
  isHanging = false;
  override async put(...request: Parameters<MemoryDriver['put']>): ReturnType<MemoryDriver['put']> {
    return this.isHanging ? await new Promise(() => {}) : await super.put(...request);
  }
}

type Attached = { deps: ImageDeps; driver: HangingDriver; image: AttachedImage };

async function attached(patience: Partial<AttachLimits>): Promise<Attached> {
  const parts = { clock: systemClock, random: systemRandom };
  const driver = new HangingDriver(systemClock);
  const deps = { ...parts, bucket: new Bucket(driver, parts), settings: settingsDefault };
  await createDocument(deps.bucket, keyText({ kind: 'pool', pool: 'rbd' }), {}, deps.random);
  await createImage(deps, spec('vm'), { sizeBytes: mebibyte });
  const limits = { ...attachLimitsDefault, ...patience };
  return { deps, driver, image: await AttachedImage.open(deps, spec('vm'), { owner, limits }) };
}

const patiences: [string, Partial<AttachLimits>][] = [
  ['with every flush', { flushPatienceMs: patienceMs }],
  ['at its end, though not with a flush', { endPatienceMs: patienceMs }],
];

test.each(patiences)(
  'a server whose bucket hangs, and which is impatient %s, ends all the same, says that an image was not detached, and what was flushed is there',
  async (_, patience) => {
    const { deps, driver, image } = await attached(patience);
    const { directory, remove } = makeDirectory();
    const ended = Promise.withResolvers<void>();
    const announced = Promise.withResolvers<void>();
    const address = { path: join(directory, 'nbd.sock') };
    const exports = [{ name: 'rbd/vm', description: 'a disk', device: writableDevice(image), image }];
    const serving = serveExports({ exports, address, tls: undefined, note: () => {}, ended: ended.promise }, () =>
      announced.resolve(),
    );
    await announced.promise;
    const client = await RawClient.connect(address);
    await client.go('rbd/vm');
    expect(await client.ask(cmd.write, { data: Buffer.alloc(4096, 1) })).toBe(0);
    expect(await client.ask(cmd.flush)).toBe(0);
    driver.isHanging = true;
    expect(await client.ask(cmd.write, { offset: 8192, data: Buffer.alloc(4096, 2) })).toBe(0);
    const beganAtMs = systemClock.nowMs();
    ended.resolve();
    await expect(serving).rejects.toMatchObject({
      code: 'EIO',
      message: expect.stringMatching(
        /^rbd\/vm was not detached: the bucket did not take what was written within 0\.5 s\nwhat was flushed is in its journal/,
      ),
    });
    expect(systemClock.nowMs() - beganAtMs).toBeLessThan(endMsMax);
    await client.closed;
    driver.isHanging = false;
    const next = await AttachedImage.open(deps, spec('vm'), { owner, limits: attachLimitsDefault, force: true });
    expect(Buffer.from(await next.read(0, 4096))).toEqual(Buffer.alloc(4096, 1));
    await next.close();
    remove();
  },
);
