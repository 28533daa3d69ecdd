// Owns what an attached writer does in a simulation: draws its plan, and carries it out on an image.

import { AttachedImage } from '../../lib/attach/attached-image.ts';
import { attachLimitsDefault, type AttachLimits } from '../../lib/attach/limits.ts';
import { journalTeller } from '../../lib/cli/nbd/journal-teller.ts';
import { FarsideError } from '../../lib/errors.ts';
import type { QuiesceHook } from '../../lib/attach/quiescence.ts';
import { hookMs } from '../../lib/node/quiesce-hook.ts';
import type { ImageSpec } from '../../lib/image/deps.ts';
import type { MirrorDeps } from '../../lib/mirror/deps.ts';
import type { Dice } from './dice.ts';
import { Violation } from './violation.ts';
import type { WriterLog } from './writer-log.ts';

type Drawing = {
  force: boolean;
  isFollowed: boolean;
  isHooked: boolean;
  isPatient: boolean;
  units: readonly Buffer[];
};

/** A few bursts, with pauses in which others do something; longer ones where replicas follow meanwhile. */
export function drawWriting(dice: Dice, { force, isFollowed, isHooked, isPatient, units }: Drawing): Writing {
  const unitBytes = units[0]!.length;
  const [least, most]: [number, number] = isPatient ? [6, 18] : isFollowed ? [4, 16] : [2, 7];
  const steps = Array.from({ length: dice.integer(least, most) }, (): WriterStep => {
    const at = dice.integer(0, 1000) / 1000;
    const unit = dice.pick(units);
    const length = dice.chance(0.7) ? unitBytes : dice.integer(1, 2 * unitBytes);
    const kind = dice.weighted({
      write: 6,
      zero: 2,
      flush: isPatient ? 7 : 4,
      settle: 1,
      pause: isFollowed || isHooked ? 6 : 3,
      maintain: 1,
      read: 1,
    });
    return {
      kind,
      at,
      length,
      unit,
      pauseMs: isFollowed || isHooked ? dice.integer(1, 20_000) : dice.skewed(1, 20_000),
    };
  });
  const hook = isHooked ? drawHook(dice) : undefined;
  return {
    force,
    steps,
    hook,
    end: dice.pick(isFollowed ? ['close', 'crash'] : ['close', 'close', 'crash']),
  };
}

/** What it does each time, and how long it takes for that; how long it is held for. `dies`: the writer, some time after its hook was run. */
type Hook = {
  does: 'stills' | 'fails' | 'hangs' | 'dies';
  tookMs: number;
  dyingMs: number;
  quiesceHoldMs: number;
};

const drawHook = (dice: Dice): Hook => ({
  does: dice.weighted({ stills: 6, fails: 1, hangs: 0.7, dies: 1.5 }),
  tookMs: dice.skewed(1, 20_000),
  dyingMs: dice.skewed(1, 20_000),
  quiesceHoldMs: dice.pick([2000, 8000, 30_000]),
});

type WriterStep = {
  kind: 'write' | 'zero' | 'flush' | 'settle' | 'pause' | 'maintain' | 'read';
  /** Where, as a share of the image. */
  at: number;
  length: number;
  unit: Buffer;
  pauseMs: number;
};
export type Writing = {
  force: boolean;
  steps: readonly WriterStep[];
  hook: Hook | undefined;
  end: 'close' | 'crash';
};

const owner = { lockId: 'auto 1', locker: 'client.1', address: 'here:0/1', sinceMs: 0 };
const attachLimits: AttachLimits = {
  ...attachLimitsDefault,
  segmentBytesMax: 24_576,
  foldSegmentsMax: 3,
};

type Attachment = {
  spec: ImageSpec;
  plan: Writing;
  writer: WriterLog;
  advance: (position: { epoch: string; seq: number; record: boolean }) => Promise<void>;
  die: () => Promise<never>;
};

export async function writeThrough(deps: MirrorDeps, attachment: Attachment): Promise<void> {
  const { spec, plan, writer, advance, die } = attachment;
  const { force, steps, hook, end } = plan;
  const tell = journalTeller(deps.clock, advance);
  const onAdvance = (to: { seq: number; entry: number }): void => tell({ epoch: writer.epoch, ...to });
  const hooked = hook && {
    limits: { ...attachLimits, quiesceHoldMs: hook.quiesceHoldMs },
    owner: { ...owner, quiesces: true },
    quiesceHook: hookOf(deps, hook, attachment),
  };
  const image = await AttachedImage.open(deps, spec, {
    owner,
    limits: attachLimits,
    force,
    onAdvance,
    ...hooked,
  });
  const work = async (): Promise<void> => {
    for (const step of steps) await writerStep(deps, image, step, writer);
    if (end === 'crash' && hook) await die();
    if (end === 'crash') return image.abandon();
    const count = writer.requestCount;
    await image.close();
    if (!image.failure) writer.flushed(count);
  };
  await (hook ? maintained(deps, image, work) : work());
}

/** As nbd serve does it: once a second, until the work is over. */
async function maintained(deps: MirrorDeps, image: AttachedImage, work: () => Promise<void>): Promise<void> {
  let isOver = false;
  const again = async (): Promise<void> => {
    for (; !isOver; await deps.clock.sleep(1000)) await image.maintain();
  };
  const done = again();
  try {
    await work();
  } finally {
    isOver = true;
    await done;
  }
}

/** What writes to the image goes on meanwhile, as applications do that nobody told the hook about. */
function hookOf({ clock }: MirrorDeps, { does, tookMs, dyingMs }: Hook, { writer, die }: Attachment): QuiesceHook {
  const dieLater = async (): Promise<void> => {
    await clock.sleep(dyingMs);
    await die();
  };
  return async (action) => {
    await clock.sleep(does === 'hangs' && action === 'quiesce' ? hookMs : tookMs);
    if (does === 'hangs' && action === 'quiesce') throw new FarsideError('ETIMEDOUT', 'the hook did not end');
    if (does === 'fails') throw new FarsideError('EIO', `the hook failed to ${action}`);
    if (action === 'unquiesce') return;
    if (does === 'dies') void dieLater();
    writer.standsStill();
  };
}

async function writerStep(deps: MirrorDeps, image: AttachedImage, step: WriterStep, writer: WriterLog): Promise<void> {
  const { kind, at, pauseMs, unit } = step;
  const offset = Math.floor((at * image.sizeBytes) / 512) * 512;
  const length = Math.min(step.length, image.sizeBytes - offset);
  const count = writer.requestCount;
  switch (kind) {
    case 'write':
    case 'zero': {
      const data = kind === 'zero' ? Buffer.alloc(length) : Buffer.alloc(length, unit);
      if (length === 0) return;
      writer.request(offset, data);
      return await (kind === 'zero' ? image.zero(offset, length) : image.write(offset, data));
    }
    case 'flush':
    case 'settle':
      await (kind === 'flush' ? image.flush() : image.settle());
      return writer.flushed(count);
    case 'pause':
      return await deps.clock.sleep(pauseMs);
    case 'maintain':
      return await image.maintain();
    case 'read': {
      const expected = writer.newest.bytes.subarray(0, image.sizeBytes);
      const found = await image.read(0, expected.length);
      if (expected.compare(found) !== 0) throw new Violation('I1', 'an attached image reads other than it was written');
    }
  }
}
