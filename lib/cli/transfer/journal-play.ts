// Owns what `journal export`, `import` and `inspect` say of entries while they go through a journal, and at the end.

import { FarsideError } from '../../errors.ts';
import type { ImageSpec } from '../../image/deps.ts';
import type { Segment } from '../../image/journal/segment.ts';
import type { Argument } from '../command.ts';
import { refuseSnap, resolveImageSpec } from '../parse/grammar.ts';
import { imageArgument, negativeOption, switchOption, textOption } from '../parse/parameters.ts';
import type { JournalTally } from './export-journal.ts';

export const verboseOption = switchOption('--verbose', 'be verbose');

export const playOptions = {
  verbose: verboseOption,
  noError: negativeOption('--no-error', 'continue after error'),
};

/** A journal's id is that of its image. */
export const journalOptions = {
  journal: textOption('--journal <journal-id>', "journal id, as 'journal info' shows it, instead of the image"),
};

/** A journal, by its image or by `journalOptions`. */
export const journalArgument: Argument<ImageSpec> = {
  ...imageArgument,
  take(words, options, own) {
    if (typeof own['journal'] !== 'string') {
      if (!words[0] && !options.image) throw new FarsideError('EINVAL', 'journal was not specified');
      return imageArgument.take(words, options, own);
    }
    if (options.image !== undefined)
      throw new FarsideError('EINVAL', 'specify either the image or the journal, not both');
    return { ...refuseSnap(resolveImageSpec(own['journal'], options)), byId: true };
  },
};

/** A segment in the words of rbd: a line for it, and its changes as JSON. */
export function verboseSegment(tag: number, { slot, sealedAtMs, changes, firstEntry, entryCount }: Segment): string {
  const events = changes.map(({ offset, length, entry }) => ({
    event_type: entry === undefined ? 'AioDiscard' : 'AioWrite',
    offset,
    length,
  }));
  const timestamp = new Date(sealedAtMs).toISOString();
  const value = { event_entry: { timestamp, first_entry: firstEntry, entries: entryCount, events } };
  return `Entry: tag_id=${tag}, commit_tid=${slot.seq}\n${JSON.stringify(value, undefined, 4)}`;
}

export const tallyLine = ({ entries, errors }: JournalTally): string =>
  `${entries} entries processed, ${errors} errors`;

/** As rbd: what was gone on after is a failure all the same. */
export function refuseErrors({ errors }: JournalTally, what: string): void {
  if (errors > 0)
    throw new FarsideError('EBADMSG', `${errors} damaged ${errors === 1 ? 'segment' : 'segments'} ${what}`);
}
