// Snapshots of images in use: what they hold, and a writer that stills its applications for them when it has a hook. Whoever dies
// on the way leaves nothing stuck.

import { describe, expect, test } from 'vitest';
import { AttachedImage } from '../../lib/attach/attached-image.ts';
import { attachLimitsDefault } from '../../lib/attach/limits.ts';
import { holdOf, Quiescence, type QuiesceHook } from '../../lib/attach/quiescence.ts';
import { FarsideError } from '../../lib/errors.ts';
import { readHeader } from '../../lib/image/access.ts';
import { createImage } from '../../lib/image/images.ts';
import { askToQuiesce, quiescePatienceMs, takeQuiesced, type QuiesceMode } from '../../lib/image/journal/quiesce.ts';
import { createSnapshot } from '../../lib/image/snapshots.ts';
import { openStore } from '../../lib/image/packs/pack-store.ts';
import { readRange } from '../../lib/image/map/read.ts';
import { createMirrorSnapshot, enableImage } from '../../lib/mirror/verbs/images.ts';
import { PeerEndpoint } from '../../lib/mirror/primary/endpoint.ts';
import { handleSnapshot } from '../../lib/mirror/primary/snapshot.ts';
import { readPool } from '../../lib/mirror/pool.ts';
import { addSchedule, scheduleStatus } from '../../lib/mirror/schedules/schedules.ts';
import { imageStatus } from '../../lib/mirror/status/status.ts';
import { memorySite } from '../image/model.ts';
import { headerOf, makeImage, spec, World } from '../mirror/two-sites.ts';
import { interposed, isHeader } from './interposed.ts';

const sizeBytes = 256 * 1024;
const owner = { lockId: 'auto 1', locker: 'client.1', address: 'here:0/1', sinceMs: 0 };
const { headerEveryMs, quiesceHoldMs } = attachLimitsDefault;

/** An image in use on a site whose writer is looked after every second, as `nbd serve` does. */
class Attached {
  readonly world = new World();
  readonly actions: string[] = [];
  image!: AttachedImage;
  #isTended = true;

  static async open(hook?: QuiesceHook): Promise<Attached> {
    const attached = new Attached();
    const { world } = attached;
    await world.pair();
    await makeImage(world.a, 'vm', sizeBytes);
    await attached.attach(hook);
    void attached.#tend();
    return attached;
  }

  async attach(hook?: QuiesceHook): Promise<void> {
    const told: QuiesceHook = async (action) => {
      this.actions.push(action);
      await hook!(action);
    };
    this.image = await this.world.run(
      AttachedImage.open(this.deps, spec('vm'), {
        owner: { ...owner, ...(hook && { quiesces: true }) },
        limits: attachLimitsDefault,
        force: true,
        quiesceHook: hook && told,
      }),
    );
  }

  get deps() {
    return this.world.a.deps;
  }

  async #tend(): Promise<void> {
    while (this.#isTended) {
      await this.deps.clock.sleep(1000);
      await this.image.maintain();
    }
  }

  /** As a process that was killed. */
  kill(): void {
    this.#isTended = false;
    this.image.abandon();
  }

  snapshot(name: string, quiesce?: QuiesceMode): Promise<number> {
    return this.world.run(createSnapshot(this.deps, spec('vm'), name, quiesce && { quiesce }));
  }

  pass(durationMs: number): Promise<void> {
    return this.world.run(this.deps.clock.sleep(durationMs));
  }

  async request(): Promise<unknown> {
    return (await headerOf(this.world.a, 'vm')).journal?.quiesce;
  }

  async names(): Promise<string[]> {
    return (await headerOf(this.world.a, 'vm')).snapshots.map(({ name }) => name);
  }

  /** The first byte of a snapshot, the newest unless named. */
  async byteOf(name?: string): Promise<number | undefined> {
    const header = await headerOf(this.world.a, 'vm');
    const { root } = header.snapshots.findLast((one) => name === undefined || one.name === name)!;
    const store = openStore(this.deps, header);
    const content = await this.world.run(readRange(store, root, header.objectBytes, { offset: 0, length: 512 }));
    return content[0];
  }

  async flushed(byte: number): Promise<void> {
    await this.image.write(0, Buffer.alloc(4096, byte));
    await this.world.run(this.image.flush());
  }
}

const willing: QuiesceHook = async () => {};
const refusing: QuiesceHook = async (action) => {
  if (action === 'quiesce') throw new FarsideError('EPERM', 'the database said no');
};
const turns = async (): Promise<void> => {
  for (let left = 50; left > 0; left--) await new Promise((resolve) => setImmediate(resolve));
};
const failure = (work: Promise<unknown>): Promise<unknown> =>
  work.then(() => 'nothing failed').catch((e: unknown) => e);

describe('a snapshot of an image in use', () => {
  test('of a writer without a hook it costs two swaps and no wait, and holds all that was flushed', async () => {
    const attached = await Attached.open();
    await attached.flushed(1);
    await attached.image.write(0, Buffer.alloc(4096, 2));
    const [before, startMs] = [attached.deps.bucket.counts().A, attached.deps.clock.nowMs()];
    await attached.snapshot('s');
    expect(attached.deps.bucket.counts().A - before).toBe(3); // the folded map's pack, the fold, the snapshot
    expect(attached.deps.clock.nowMs()).toBe(startMs);
    expect(await attached.byteOf('s')).toBe(1);
  });

  test('of a writer with a hook it holds all that was written before, flushed or not, and nothing that came after', async () => {
    const attached = await Attached.open(async (action) => {
      // The application's last words, before it stands still; and somebody who does not stand still.
      if (action === 'quiesce') await attached.image.write(0, Buffer.alloc(4096, 2));
    });
    await attached.flushed(1);
    const created = createSnapshot(attached.deps, spec('vm'), 's');
    const late = (async () => {
      while (attached.actions.length === 0) await attached.deps.clock.sleep(100);
      await attached.deps.clock.sleep(1);
      await attached.image.write(0, Buffer.alloc(4096, 3));
      return [...attached.actions];
    })();
    await attached.world.run(created);
    expect(await attached.byteOf('s')).toBe(2);
    expect(await attached.request()).toBeUndefined();
    expect(await attached.world.run(late)).toEqual(['quiesce', 'unquiesce']);
    await attached.pass(2000);
    expect(attached.actions).toEqual(['quiesce', 'unquiesce']);
    expect((await attached.image.read(0, 512))[0]).toBe(3);
  });

  test('the writer goes on a second or two after the snapshot', async () => {
    const atMs: number[] = [];
    const attached = await Attached.open(async () => void atMs.push(attached.deps.clock.nowMs()));
    const startMs = attached.deps.clock.nowMs();
    await attached.snapshot('s');
    await attached.pass(2000);
    expect(atMs[0]! - startMs).toBeLessThanOrEqual(headerEveryMs + 1000);
    expect(atMs[1]! - atMs[0]!).toBeLessThanOrEqual(3000);
  });

  test('a name that is taken is refused without disturbing the writer', async () => {
    const attached = await Attached.open(willing);
    await attached.snapshot('s', 'skip');
    expect(await failure(attached.snapshot('s'))).toMatchObject({ code: 'EEXIST' });
    expect(attached.actions).toEqual([]);
  });

  test('a hook that fails fails the snapshot with its own error, and is run for the end', async () => {
    const attached = await Attached.open(refusing);
    expect(await failure(attached.snapshot('s'))).toMatchObject({
      code: 'EPERM',
      message: expect.stringContaining('the database said no'),
    });
    expect(attached.actions).toEqual(['quiesce', 'unquiesce']);
    expect(await attached.names()).toEqual([]);
    expect(await attached.request()).toBeUndefined();
  });

  test('with the error ignored it is taken all the same, and skipped, nobody is asked', async () => {
    const attached = await Attached.open(refusing);
    await attached.flushed(1);
    await attached.snapshot('ignored', 'ignore-error');
    expect(attached.actions).toEqual(['quiesce', 'unquiesce']);
    await attached.snapshot('skipped', 'skip');
    expect(attached.actions).toHaveLength(2);
    expect(await attached.names()).toEqual(['ignored', 'skipped']);
    expect(await attached.byteOf('ignored')).toBe(1);
  });

  test('of two that are taken at once each has the writer for itself', async () => {
    const attached = await Attached.open(willing);
    const both = ['one', 'two'].map((name) => createSnapshot(attached.deps, spec('vm'), name));
    await attached.world.run(Promise.all(both));
    await attached.pass(2000);
    expect((await attached.names()).toSorted()).toEqual(['one', 'two']);
    expect(attached.actions).toEqual(['quiesce', 'unquiesce', 'quiesce', 'unquiesce']);
  });

  test('a mirror snapshot asks too', async () => {
    const attached = await Attached.open(willing);
    await attached.world.run(enableImage(attached.deps, spec('vm'), 'snapshot'));
    await attached.image.write(0, Buffer.alloc(4096, 7));
    await attached.world.run(createMirrorSnapshot(attached.deps, spec('vm')));
    expect(await attached.byteOf()).toBe(7);
    await attached.world.run(createMirrorSnapshot(attached.deps, spec('vm'), { quiesce: 'skip' }));
    await attached.pass(2000);
    expect(attached.actions).toEqual(['quiesce', 'unquiesce']);
  });
});

describe('a quiesce that somebody does not see to its end', () => {
  test('a writer that was killed is waited for, for a limited time, and its request goes with the error', async () => {
    const attached = await Attached.open(willing);
    await attached.flushed(1);
    attached.kill();
    const startMs = attached.deps.clock.nowMs();
    expect(await failure(attached.snapshot('s'))).toMatchObject({ code: 'ETIMEDOUT' });
    expect(attached.deps.clock.nowMs() - startMs).toBeLessThanOrEqual(quiescePatienceMs + 1000);
    expect(await attached.request()).toBeUndefined();
    await attached.snapshot('ignored', 'ignore-error');
    expect(await attached.byteOf('ignored')).toBe(1);
  });

  test('a writer whose asker was killed goes on after its time, and the next snapshot has it', async () => {
    const attached = await Attached.open(willing);
    const { imageId } = await headerOf(attached.world.a, 'vm');
    const request = { id: 'dead', untilMs: attached.deps.clock.nowMs() + quiescePatienceMs };
    await attached.world.run(askToQuiesce(attached.deps, (await readHeader(attached.deps, imageId))!, request));
    await attached.pass(headerEveryMs + 1000);
    expect(await attached.request()).toMatchObject({ id: 'dead', state: 'quiesced' });
    expect(attached.actions).toEqual(['quiesce']);
    await attached.pass(quiesceHoldMs + 1000);
    expect(attached.actions).toEqual(['quiesce', 'unquiesce']);
    expect(await attached.request()).toBeUndefined();
    await attached.snapshot('s');
    expect(await attached.names()).toEqual(['s']);
  });

  test('an asker that comes too late takes no snapshot for quiesced', async () => {
    const attached = await Attached.open(willing);
    const { imageId } = await headerOf(attached.world.a, 'vm');
    const taken = takeQuiesced(attached.deps, (await readHeader(attached.deps, imageId))!, {
      mode: 'required',
      check: () => {},
      take: async (stored, released) => {
        await attached.deps.clock.sleep(quiesceHoldMs + 2000);
        return released((await readHeader(attached.deps, stored.value.imageId))!.value);
      },
    });
    expect(await failure(attached.world.run(taken))).toMatchObject({ code: 'EAGAIN' });
    expect(attached.actions).toEqual(['quiesce', 'unquiesce']);
  });

  test('a writer that went on before all was in the bucket never says that it holds still, though it could not take the request back', async () => {
    let isAway = false;
    const site = interposed(
      await memorySite(),
      isHeader,
      async () => {
        if (isAway) throw new FarsideError('ETIMEDOUT', 'made to fail', { retry: 'later' });
      },
      Infinity,
    );
    await createImage(site, spec('vm'), { sizeBytes });
    const options = { owner: { ...owner, quiesces: true as const }, limits: attachLimitsDefault };
    const { header } = await AttachedImage.open(site, spec('vm'), options);
    const { imageId } = header;
    const request = { id: 'patient', untilMs: site.clock.nowMs() + quiescePatienceMs };
    const asked = await askToQuiesce(site, (await readHeader(site, imageId))!, request);
    const drained = Promise.withResolvers<number>();
    const quiescence = new Quiescence(site, {
      imageId,
      hook: willing,
      hold: () => holdOf((work) => work()),
      drain: () => drained.promise,
      holdMs: quiesceHoldMs,
    });
    quiescence.see(asked.value);
    await turns();
    isAway = true;
    site.clock.advance(quiesceHoldMs);
    quiescence.maintain();
    await turns();
    expect(quiescence.isRunning).toBe(false);
    isAway = false;
    drained.resolve(7);
    await turns();
    const found = await readHeader(site, imageId);
    expect(found!.value.journal!.quiesce).toMatchObject({ id: 'patient', state: 'asked' });
  });

  test('a request does not outlive the epoch of its writer', async () => {
    const attached = await Attached.open(willing);
    const { imageId } = await headerOf(attached.world.a, 'vm');
    const request = { id: 'dead', untilMs: Infinity };
    await attached.world.run(
      askToQuiesce(attached.deps, (await readHeader(attached.deps, imageId))!, { ...request, untilMs: 2 ** 50 }),
    );
    attached.image.abandon();
    await attached.attach(willing);
    expect(await attached.request()).toBeUndefined();
  });

  test('an image that is given back or taken away while it is quiesced lets its applications go on', async () => {
    for (const end of ['close', 'force'] as const) {
      const attached = await Attached.open(willing);
      const { imageId } = await headerOf(attached.world.a, 'vm');
      const request = { id: 'dead', untilMs: attached.deps.clock.nowMs() + quiescePatienceMs };
      await attached.world.run(askToQuiesce(attached.deps, (await readHeader(attached.deps, imageId))!, request));
      await attached.pass(headerEveryMs + 1000);
      const held = attached.image.write(0, Buffer.alloc(512, 9));
      const outcome = failure(held);
      if (end === 'close') await attached.world.run(attached.image.close());
      else {
        const { image } = attached;
        await attached.attach();
        await attached.world.run(image.maintain());
        await attached.world.run(image.maintain());
      }
      await attached.pass(3000);
      expect(attached.actions).toEqual(['quiesce', 'unquiesce']);
      await attached.world.run(outcome);
    }
  });

  test('a writer with a hook costs one look at the header each few seconds, and nothing more, while nobody asks', async () => {
    const attached = await Attached.open(willing);
    await attached.pass(headerEveryMs);
    const before = attached.deps.bucket.counts();
    await attached.pass(10 * headerEveryMs);
    const { A, B } = attached.deps.bucket.counts();
    expect(A).toBe(before.A);
    expect(B - before.B).toBeLessThanOrEqual(11);
  });
});

describe('a scheduled mirror snapshot of an image whose writer has a hook', () => {
  const scheduled = async (
    hook: QuiesceHook,
  ): Promise<{ attached: Attached; slotMs: number; take: () => Promise<number> }> => {
    const attached = await Attached.open(hook);
    await attached.world.run(enableImage(attached.deps, spec('vm'), 'snapshot'));
    await attached.world.settle();
    await attached.pass(10_000);
    await attached.image.write(0, Buffer.alloc(4096, 5));
    const { imageId } = await headerOf(attached.world.a, 'vm');
    const slotMs = attached.deps.clock.nowMs();
    const take = async (): Promise<number> => {
      await attached.world.run(handleSnapshot(attached.deps, { type: 'snapshot', pool: 'rbd', imageId, slotMs }));
      const tookMs = attached.deps.clock.nowMs() - slotMs;
      for (let rounds = 0; rounds < 400 && attached.world.a.waiting.length > 0; rounds++) {
        await attached.world.run(attached.world.a.handleNext());
        await attached.pass(500);
      }
      return tookMs;
    };
    return { attached, slotMs, take };
  };
  const isTaken = async (attached: Attached, slotMs: number): Promise<boolean> =>
    (await headerOf(attached.world.a, 'vm')).snapshots.some(
      ({ namespace }) => namespace.type === 'mirror' && namespace.slotMs === slotMs,
    );

  /** As status and schedule status of the primary say it, and what a peer is told. */
  async function told({ world }: Attached): Promise<{ status: unknown; schedule: unknown; peer: string }> {
    const { deps } = world.a;
    await world.run(addSchedule(deps, { pool: 'rbd', image: 'vm' }, '1h'));
    const { snapshots } = await world.run(imageStatus(deps, spec('vm')));
    const [row] = await world.run(scheduleStatus(deps, { pool: 'rbd' }, ['rbd']));
    const { globalId } = (await headerOf(world.a, 'vm')).mirror!;
    const peer = new PeerEndpoint(deps, 'rbd', (await readPool(deps, 'rbd')).value.peers[0]!);
    return {
      status: snapshots?.at(-1)?.quiesce_error,
      schedule: row?.quiesce_error,
      peer: JSON.stringify(await world.run(peer.image(globalId))),
    };
  }

  test('is taken once the writer has answered, and no invocation waits for that', async () => {
    const { attached, slotMs, take } = await scheduled(willing);
    expect(await take()).toBe(0);
    expect(await isTaken(attached, slotMs)).toBe(true);
    expect(await told(attached)).toMatchObject({ status: undefined, schedule: undefined });
    expect(await attached.byteOf()).toBe(5);
    await attached.pass(3000);
    expect(attached.actions).toEqual(['quiesce', 'unquiesce']);
    expect(await attached.request()).toBeUndefined();
  });

  test('is taken all the same when the hook fails, and the status of the primary says so', async () => {
    const { attached, slotMs, take } = await scheduled(refusing);
    await take();
    expect(await isTaken(attached, slotMs)).toBe(true);
    const { status, schedule, peer } = await told(attached);
    expect(status).toBe('EPERM: the database said no');
    expect(schedule).toBe(status);
    expect(peer).not.toContain('quiesceFailure');
    expect(attached.deps.clock.nowMs() - slotMs).toBeLessThan(60_000);
    expect(await attached.request()).toBeUndefined();
  });

  test('is taken all the same two minutes later when the writer is dead', async () => {
    const { attached, slotMs, take } = await scheduled(willing);
    attached.kill();
    await take();
    expect(await isTaken(attached, slotMs)).toBe(true);
    expect(attached.deps.clock.nowMs() - slotMs).toBeLessThanOrEqual(125_000);
    expect(await told(attached)).toMatchObject({ status: 'ETIMEDOUT: the writer did not answer in time' });
    expect(attached.actions).toEqual([]);
  });

  test('is taken by a tick when its messages are lost', async () => {
    const { attached, slotMs, take } = await scheduled(willing);
    attached.world.a.delivery = { lost: () => true, doubledShare: 0, shuffled: false };
    for (let ticks = 0; ticks < 3; ticks++) {
      await take();
      await attached.pass(60_000);
    }
    expect(await isTaken(attached, slotMs)).toBe(true);
    expect(attached.actions.length % 2).toBe(0);
    expect(await attached.request()).toBeUndefined();
  });
});
