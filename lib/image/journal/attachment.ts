// Owns what a header says of the writer that has the image attached: Ceph's exclusive lock. Pure.

import { FarsideError } from '../../errors.ts';
import type { Header, JournalOwner } from '../header.ts';

/** Who has the image attached, as far as the header says. */
export const ownerOf = (header: Header): JournalOwner | undefined =>
  header.journal?.state === 'open' ? header.journal.owner : undefined;

export const inUse = (header: Header, owner: JournalOwner): FarsideError =>
  new FarsideError(
    'EBUSY',
    `image ${header.name} is attached by ${owner.locker} (${owner.address}) since ${new Date(owner.sinceMs).toISOString()}; ` +
      `stop it there, or take its lock away: lock break ${header.pool}/${header.name} '${owner.lockId}' ${owner.locker}`,
  );

/** EBUSY: somebody has the image attached. For what changes an image's content behind the back of a writer. */
export function assertNotAttached(header: Header): void {
  const owner = ownerOf(header);
  if (owner) throw inUse(header, owner);
}
