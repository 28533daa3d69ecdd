// Owns the way of a journal stream into an image: what its segments did to the image that it was exported from, they do to this
// one, in their order. Nothing of it is visible before the end, which is one swap of the header: a stream that fails in the
// middle leaves the image as it was.
//
// Every segment is verified as a whole before any of it counts, and one that cannot be trusted is left out as a whole.

import { FarsideError } from '../../errors.ts';
import type { Compression } from '../../image/format/codec.ts';
import type { ImageDeps, ImageSpec } from '../../image/deps.ts';
import type { Header } from '../../image/header.ts';
import { startDiffImport } from '../../image/imports/import-diff.ts';
import { parseEpochId } from '../../image/ids.ts';
import type { Patch } from '../../image/map/patch.ts';
import { parseWholeSegment, type BlockReader, type Segment } from '../../image/journal/segment.ts';
import { JournalReader, type JournalHead, type JournalRecord } from '../../stream/journal-format.ts';
import type { JournalPlayOptions, JournalTally } from './export-journal.ts';
import { withBytes } from './import-diff.ts';
import type { Source } from './source.ts';

type ImportOptions = JournalPlayOptions & { compression: Compression | undefined };
type Whole = { segment: Segment; dataOf: BlockReader };

/**
 * EROFS, ENOENT, EBUSY: of the image. EINVAL: no journal stream, or of a larger image. EBADMSG: it is cut off or damaged; with
 * `noError` damaged segments are left out, and counted.
 */
export async function importJournal(
  deps: ImageDeps,
  spec: ImageSpec,
  source: Source,
  { compression, ...options }: ImportOptions,
): Promise<JournalTally> {
  const running = await startDiffImport(deps, spec, { compression });
  return await withBytes(source, 'EBADMSG', async (bytes) => {
    const reader = await JournalReader.open(bytes);
    checkSize(running.header, reader.head);
    const patch = await running.begin();
    const tally: JournalTally = { entries: 0, errors: 0 };
    for (let record = await reader.next(); record; record = await reader.next()) {
      await replayRecord(patch, reader.head, record, { tally, options });
      options.progress.update(bytes.positionBytes);
    }
    await running.finish(patch, running.header.sizeBytes, undefined);
    return tally;
  });
}

function checkSize({ name, sizeBytes }: Header, head: JournalHead): void {
  if (head.sizeBytes <= sizeBytes) return;
  throw new FarsideError(
    'EINVAL',
    `the journal is of an image of ${head.sizeBytes} bytes, and image ${name} has ${sizeBytes}: make it as large with 'farside resize' first`,
  );
}

async function replayRecord(
  patch: Patch,
  head: JournalHead,
  record: JournalRecord,
  { tally, options }: { tally: JournalTally; options: JournalPlayOptions },
): Promise<void> {
  const whole = wholeOf(head, record);
  if (whole instanceof FarsideError) {
    options.onDamage?.(record.seq, whole);
    if (!options.noError) throw whole;
    tally.errors++;
    return;
  }
  options.onSegment?.(whole.segment, head.tag);
  await replay(patch, head, whole);
  tally.entries += whole.segment.entryCount;
}

function wholeOf({ epoch }: JournalHead, record: JournalRecord): Whole | FarsideError {
  const { seq } = record;
  if (record.type === 'missing')
    return new FarsideError('EBADMSG', `segment ${seq} is missing: it was damaged where the journal was exported`);
  if (record.type === 'damaged') return new FarsideError('EBADMSG', `segment ${seq} does not match its CRC`);
  try {
    return parseWholeSegment(record.bytes, { epoch: parseEpochId(epoch), seq });
  } catch (cause) {
    if (!(cause instanceof FarsideError)) throw cause;
    return new FarsideError('EBADMSG', `segment ${seq} cannot be trusted: ${cause.message}`, { cause });
  }
}

async function replay(patch: Patch, { sizeBytes }: JournalHead, { segment, dataOf }: Whole): Promise<void> {
  for (const { offset, length, entry } of segment.changes) {
    const within = Math.min(length, sizeBytes - offset); // what lies beyond the end is not there
    if (within <= 0) continue;
    if (entry === undefined) await patch.zero(offset, within);
    else await patch.write(offset, dataOf(entry).subarray(0, within));
  }
}
