// Owns how often the writer of an image in use tells the site that its journal went on: at most once a second, with the newest
// position, and nobody waits for it. The first after a pause and one each half minute are also recorded for replicas that get no
// wake-up; those go on looking for some minutes after each segment (lib/mirror/replica/follow.ts), so the last needs no record.

import type { Clock } from '../../clock.ts';
import type { Advance } from '../client/journal.ts';

const tellEveryMs = 1000;
const recordEveryMs = 30_000;

type Position = Omit<Advance, 'record'>;

export function journalTeller(clock: Clock, tell: (advance: Advance) => Promise<void>): (position: Position) => void {
  let newest: Position | undefined;
  let isTelling = false;
  let recordedAtMs = -Infinity;
  const tellAll = async (): Promise<void> => {
    while (newest) {
      const position = newest;
      newest = undefined;
      const record = clock.nowMs() - recordedAtMs >= recordEveryMs;
      // A site that is away hears of the next, or its replicas look by themselves.
      const isTold = await tell({ ...position, record }).then(
        () => true,
        () => false,
      );
      if (record && isTold) recordedAtMs = clock.nowMs();
      await clock.sleep(tellEveryMs);
    }
    isTelling = false;
  };
  return (position) => {
    newest = position;
    if (isTelling) return;
    isTelling = true;
    void tellAll();
  };
}
