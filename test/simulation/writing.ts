// Owns what an attached writer does in a simulation: draws its plan, and carries it out on an image.

import { AttachedImage } from '../../lib/attach/attached-image.ts';
import { attachLimitsDefault, type AttachLimits } from '../../lib/attach/limits.ts';
import { journalTeller } from '../../lib/cli/nbd/journal-teller.ts';
import type { ImageSpec } from '../../lib/image/deps.ts';
import type { MirrorDeps } from '../../lib/mirror/deps.ts';
import type { Dice } from './dice.ts';
import { Violation } from './violation.ts';
import type { WriterLog } from './writer-log.ts';

/** A few bursts, with pauses in which others do something; longer ones where replicas follow meanwhile. */
export function drawWriting(
  dice: Dice,
  { force, isFollowed, units }: { force: boolean; isFollowed: boolean; units: readonly Buffer[] },
): Writing {
  const unitBytes = units[0]!.length;
  const steps = Array.from({ length: isFollowed ? dice.integer(4, 16) : dice.integer(2, 7) }, (): WriterStep => {
    const at = dice.integer(0, 1000) / 1000;
    const unit = dice.pick(units);
    const length = dice.chance(0.7) ? unitBytes : dice.integer(1, 2 * unitBytes);
    const kind = dice.weighted({
      write: 6,
      zero: 2,
      flush: 4,
      settle: 1,
      pause: isFollowed ? 6 : 3,
      maintain: 1,
      read: 1,
    });
    return { kind, at, length, unit, pauseMs: isFollowed ? dice.integer(1, 20_000) : dice.skewed(1, 20_000) };
  });
  return { force, steps, end: dice.pick(isFollowed ? ['close', 'crash'] : ['close', 'close', 'crash']) };
}

type WriterStep = {
  kind: 'write' | 'zero' | 'flush' | 'settle' | 'pause' | 'maintain' | 'read';
  /** Where, as a share of the image. */
  at: number;
  length: number;
  unit: Buffer;
  pauseMs: number;
};
export type Writing = { force: boolean; steps: readonly WriterStep[]; end: 'close' | 'crash' };

const owner = { lockId: 'auto 1', locker: 'client.1', address: 'here:0/1', sinceMs: 0 };
const attachLimits: AttachLimits = { ...attachLimitsDefault, segmentBytesMax: 24_576, foldSegmentsMax: 3 };

type Attachment = {
  spec: ImageSpec;
  plan: Writing;
  writer: WriterLog;
  advance: (position: { epoch: string; seq: number; record: boolean }) => Promise<void>;
};

export async function writeThrough(deps: MirrorDeps, { spec, plan, writer, advance }: Attachment): Promise<void> {
  const { force, steps, end } = plan;
  const tell = journalTeller(deps.clock, advance);
  const onAdvance = (to: { seq: number; entry: number }): void => tell({ epoch: writer.epoch, ...to });
  const image = await AttachedImage.open(deps, spec, { owner, limits: attachLimits, force, onAdvance });
  for (const step of steps) await writerStep(deps, image, step, writer);
  if (end === 'crash') return image.abandon();
  const count = writer.requestCount;
  await image.close();
  if (!image.failure) writer.flushed(count);
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
