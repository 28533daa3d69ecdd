// Owns the way of a journal to the outside: the slots of the newest epoch that still have everything that their writer put
// there, as they are. Every segment is verified before it is sent.
//
// Earlier epochs are not exported: between two epochs an image may change without its journal, and a replay over both would
// bring back what such a change took away.

import { FarsideError } from '../../errors.ts';
import { openHeader } from '../../image/access.ts';
import type { ImageDeps, ImageSpec } from '../../image/deps.ts';
import type { Header } from '../../image/header.ts';
import { parseEpochId } from '../../image/ids.ts';
import type { Slot } from '../../image/format/node.ts';
import { ahead } from '../../image/map/read.ts';
import { parseWholeSegment, type Segment } from '../../image/journal/segment.ts';
import { firstRetained, readSlotBytes } from '../../image/journal/slots.ts';
import { endSeq } from '../../mirror/primary/journal-report.ts';
import {
  encodeJournalEnd,
  encodeJournalGap,
  encodeJournalHead,
  encodeJournalSegment,
} from '../../stream/journal-format.ts';
import type { Progress } from '../output/progress.ts';

/** Read while the one before them is sent; each is some megabytes at most. */
const segmentsAhead = 4;

/** `endSeq`: where the journal ended when it was opened. */
export type RetainedJournal = { header: Header; from: Slot; tag: number; endSeq: number };

/** EINVAL: the image has no journal. `unfolded`: only what is not in the map. */
export async function openJournal(
  deps: ImageDeps,
  spec: ImageSpec,
  { unfolded = false }: { unfolded?: boolean } = {},
): Promise<RetainedJournal> {
  const { value: header } = await openHeader(deps, spec);
  const { journal, imageId } = header;
  if (!journal && !header.features.includes('journaling'))
    throw new FarsideError('EINVAL', `journaling is not enabled for image ${spec.image}`);
  if (!journal) return { header, from: { epoch: parseEpochId('0'.repeat(16)), seq: 0 }, tag: 0, endSeq: 0 };
  const epoch = parseEpochId(journal.folded.epoch);
  const folded = { epoch, seq: journal.folded.seq };
  const from = unfolded ? folded : { epoch, seq: await firstRetained(deps, imageId, folded) };
  return { header, from, tag: journal.folded.tag, endSeq: await endSeq(deps, header) };
}

/** Entries are requests of the writer; errors are segments that cannot be trusted. */
export type JournalTally = { entries: number; errors: number };

export type JournalPlayOptions = {
  /** Go on after a segment that is damaged, without it. */
  noError: boolean;
  /** `tag`: of its epoch. */
  onSegment?: ((segment: Segment, tag: number) => void) | undefined;
  onDamage?: ((seq: number, cause: FarsideError) => void) | undefined;
  progress: Pick<Progress, 'update'>;
};

type Loaded = { seq: number; bytes: Uint8Array; segment: Segment } | { seq: number; damage: FarsideError };

/** Its segments, verified. */
export async function* playJournal(deps: ImageDeps, journal: RetainedJournal): AsyncGenerator<Loaded> {
  const { header } = journal;
  for await (const loaded of ahead(slotsOf(journal), (slot) => load(deps, header, slot), segmentsAhead)) {
    if (!loaded) return;
    yield loaded;
  }
}

/** A whole journal stream. What it sent, and what it left out, is counted in `tally`. EBADMSG: damage, unless `noError`. */
export async function* journalStream(
  deps: ImageDeps,
  journal: RetainedJournal,
  tally: JournalTally,
  { noError, onSegment, onDamage, progress }: JournalPlayOptions,
): AsyncGenerator<Uint8Array> {
  const { header, from, tag } = journal;
  yield encodeJournalHead({ imageId: header.imageId, ...from, firstSeq: from.seq, tag, sizeBytes: header.sizeBytes });
  let recordCount = 0;
  let sentBytes = 0;
  for await (const loaded of playJournal(deps, journal)) {
    recordCount++;
    if ('damage' in loaded) {
      onDamage?.(loaded.seq, loaded.damage);
      if (!noError) throw loaded.damage;
      tally.errors++;
      yield* encodeJournalGap();
      continue;
    }
    onSegment?.(loaded.segment, tag);
    tally.entries += loaded.segment.entryCount;
    yield* encodeJournalSegment(loaded.bytes);
    progress.update((sentBytes += loaded.bytes.length));
  }
  yield* encodeJournalEnd(recordCount);
}

async function* slotsOf({ from: { epoch, seq: first }, endSeq: end }: RetainedJournal): AsyncGenerator<Slot> {
  for (let seq = first; seq < end; seq++) yield { epoch, seq };
}

/** It was there when the journal was opened. A stream without it would look like a whole one that ends here. */
const collectedMeanwhile = (seq: number, name: string): FarsideError =>
  new FarsideError('EBADMSG', `slot ${seq} of the journal of image ${name} was collected meanwhile: try again`);

/** Undefined: the epoch ends there. */
async function load(deps: ImageDeps, { name, imageId }: Header, slot: Slot): Promise<Loaded | undefined> {
  const bytes = await readSlotBytes(deps, imageId, slot);
  if (bytes === 'fence') return undefined;
  if (bytes === 'free') return { seq: slot.seq, damage: collectedMeanwhile(slot.seq, name) };
  try {
    return { seq: slot.seq, bytes, segment: parseWholeSegment(bytes, slot).segment };
  } catch (cause) {
    if (!(cause instanceof FarsideError)) throw cause;
    const text = `slot ${slot.seq} of the journal of image ${name} cannot be trusted: ${cause.message}`;
    return { seq: slot.seq, damage: new FarsideError('EBADMSG', text, { cause }) };
  }
}
