// Owns reading and filling the slots of a journal. Slots are write-once and dense: an epoch's are numbered from 0, and the
// first free one is its end. Whoever fills that one has appended: the epoch's writer a segment, somebody else a fence, after
// which the writer gets no further (I6).
//
//   writer                                 opener of a new epoch
//   slot 7: segment
//                                          reads up to slot 7; slot 8 is free
//                                          slot 8: fence
//   slot 8: taken; reads a fence: fenced

import { keyText } from '../../bucket/keys.ts';
import { FarsideError } from '../../errors.ts';
import type { Etag } from '../../bucket/driver.ts';
import type { ImageDeps } from '../deps.ts';
import type { Slot } from '../format/node.ts';
import { parseAnyPackIndex } from '../format/pack.ts';
import { encodeFence, isFenceSized, isFence, passedBy } from '../format/fence.ts';
import { parseSegment, segmentHeadBytes, type Segment } from './segment.ts';

type SlotDeps = Pick<ImageDeps, 'bucket'>;

export type SlotContent = { kind: 'segment'; segment: Segment } | { kind: 'fence' } | { kind: 'free' };

/** Read at once; most indexes and events fit, small segments do whole. */
const headBytes = 64 * 1024;

const slotKey = (imageId: string, slot: Slot): string => keyText({ kind: 'slot', imageId, ...slot });

/** One read, or two when the index is long. The blocks of a segment stay where they are. EBADMSG: damaged. */
export async function readSlot(deps: SlotDeps, imageId: string, slot: Slot): Promise<SlotContent> {
  try {
    return await readContent(deps, imageId, slot);
  } catch (cause) {
    if (!(cause instanceof FarsideError) || cause.code !== 'EBADMSG') throw cause;
    const what = `image ${imageId}: slot ${slot.seq} of epoch ${slot.epoch} of its journal cannot be trusted: ${cause.message}`;
    throw new FarsideError('EBADMSG', `${what}; restore the object or resync the image from its peer`, { cause });
  }
}

async function readContent(deps: SlotDeps, imageId: string, slot: Slot): Promise<SlotContent> {
  const head = await readHead(deps, imageId, slot);
  if (head === 'free' || head === 'fence') return { kind: head };
  return { kind: 'segment', segment: parseSegment(head, slot) };
}

/** Index and events of a segment, whatever else there may be of it. */
async function readHead(deps: SlotDeps, imageId: string, slot: Slot): Promise<Uint8Array | 'free' | 'fence'> {
  const key = slotKey(imageId, slot);
  const found = await deps.bucket.get(key, { range: { offset: 0, length: headBytes } });
  if (found.status !== 'found') return 'free';
  if (isFence(found.body, slot)) return 'fence';
  let head = found.body;
  for (let wanted = segmentHeadBytes(head); wanted > head.length; wanted = segmentHeadBytes(head)) {
    const more = await deps.bucket.get(key, { range: { offset: 0, length: wanted } });
    if (more.status !== 'found' || more.body.length <= head.length) break; // parsing says what is wrong
    head = more.body;
  }
  return head;
}

/** Whether a slot still has all that its writer put there: collection makes folded ones sparse. A damaged one may have had it. */
async function isRetained(deps: SlotDeps, imageId: string, slot: Slot): Promise<boolean> {
  try {
    const head = await readHead(deps, imageId, slot);
    return head !== 'free' && head !== 'fence' && parseAnyPackIndex(head).isComplete;
  } catch (error) {
    if (error instanceof FarsideError && error.code === 'EBADMSG') return true;
    throw error;
  }
}

/** Folded slots that are looked for. */
const retainedMax = 65_536;
/** Looked at together. */
const retainedAtOnce = 16;

/** The first of the slots before `end` that are whole without a gap, `end` when there is none. It reads a little of each. */
export async function firstRetained(deps: SlotDeps, imageId: string, { epoch, seq: end }: Slot): Promise<number> {
  const last = Math.max(0, end - retainedMax);
  for (let seq = end; seq > last;) {
    const slots = Array.from({ length: Math.min(retainedAtOnce, seq - last) }, (_, index) => seq - 1 - index);
    const whole = await Promise.all(slots.map((at) => isRetained(deps, imageId, { epoch, seq: at })));
    const gap = whole.indexOf(false);
    if (gap >= 0) return seq - gap;
    seq -= slots.length;
  }
  return last;
}

/** All the bytes of a slot, unless it is free or ends the epoch. */
export async function readSlotBytes(
  deps: SlotDeps,
  imageId: string,
  slot: Slot,
): Promise<Uint8Array | 'free' | 'fence'> {
  const found = await deps.bucket.get(slotKey(imageId, slot));
  if (found.status !== 'found') return 'free';
  return isFenceSized(found.meta) ? 'fence' : found.body;
}

/** False: the slot is taken, by other bytes. Repeating it is harmless. */
export async function fillSlot(deps: SlotDeps, imageId: string, slot: Slot, bytes: Uint8Array): Promise<boolean> {
  return (await deps.bucket.create(slotKey(imageId, slot), bytes)).created;
}

/** Whether the slot holds these very bytes. */
export async function holdsBytes(deps: SlotDeps, imageId: string, slot: Slot, bytes: Uint8Array): Promise<boolean> {
  const found = await deps.bucket.get(slotKey(imageId, slot));
  return found.status === 'found' && Buffer.compare(found.body, bytes) === 0;
}

/** The segments from `from` on, ascending, up to the end of the epoch or `max` of them. */
export async function* segmentsFrom(deps: SlotDeps, imageId: string, from: Slot, max: number): AsyncGenerator<Segment> {
  for (let seq = from.seq; seq < from.seq + max; seq++) {
    const content = await readSlot(deps, imageId, { epoch: from.epoch, seq });
    if (content.kind !== 'segment') return;
    yield content.segment;
  }
}

/**
 * Ends an epoch. Idempotent: a fence that is there already does. Gives the number of its slot.
 * @param fromSeq slots before it are known to be filled.
 * @param passed of a replica: a fence that counts fewer has been passed, and does not do (replica-end.ts).
 */
export async function fence(
  deps: SlotDeps,
  imageId: string,
  { epoch, seq: fromSeq }: Slot,
  passed = 0,
): Promise<number> {
  for (let seq = fromSeq; ;) {
    const slot = { epoch, seq };
    const meta = await deps.bucket.head(slotKey(imageId, slot));
    if (meta && !isFenceSized(meta)) seq++;
    // Taken after all: the writer was faster, and its segment is looked at next.
    else if (!meta && (await fillSlot(deps, imageId, slot, encodeFence(slot, passed)))) return seq;
    else if (meta && (passed === 0 || (await renewFence(deps, imageId, slot, passed)))) return seq;
  }
}

/** False: somebody was faster, and has put a segment there. */
async function renewFence(deps: SlotDeps, imageId: string, slot: Slot, passed: number): Promise<boolean> {
  const found = await readFence(deps, imageId, slot);
  if (!found) return false;
  return found.passed >= passed || replaceFence(deps, imageId, slot, found, encodeFence(slot, passed));
}

export type FoundFence = { passed: number; putAtMs: number; etag: Etag };

/** Undefined: the slot is free, or holds a segment. */
export async function readFence(deps: SlotDeps, imageId: string, slot: Slot): Promise<FoundFence | undefined> {
  const found = await deps.bucket.get(slotKey(imageId, slot));
  const passed = found.status === 'found' ? passedBy(found.body, slot) : undefined;
  if (found.status !== 'found' || passed === undefined) return undefined;
  return { passed, putAtMs: found.meta.uploadedAtMs, etag: found.meta.etag };
}

/** Only at a replica, and only of one that was passed. False: something else is there by now. */
export async function replaceFence(
  deps: SlotDeps,
  imageId: string,
  slot: Slot,
  { etag }: FoundFence,
  bytes: Uint8Array,
): Promise<boolean> {
  return (await deps.bucket.replace(slotKey(imageId, slot), bytes, etag)).replaced;
}
