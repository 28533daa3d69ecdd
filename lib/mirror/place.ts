// Owns where a copy of an image that is mirrored by its journal is: in an epoch, or, while nobody has the image attached, at a point.
// Pure. Ceph's commit positions are made of it.

import { mirrorSnapshots } from '../image/header.ts';
import type { Header, JournalPosition } from '../image/header.ts';
import { newestPoint, pointOf, type Point } from './roles/history.ts';

/** `mirrorUuid`: of a point. */
export type Place = Omit<JournalPosition, 'epoch'> & { epoch?: string; mirrorUuid?: string };

/** Epochs have tags from 1 on; at a point, the entry is the id that its snapshot has at the site that took it. */
const placeAt = ({ mirrorUuid, snapId }: Point): Place => ({ tag: 0, seq: 0, entry: snapId, mirrorUuid });

/** Of a point that was taken here the mirror uuid is left empty. */
export function placeOf(header: Pick<Header, 'journal' | 'snapshots'>): Place | undefined {
  const { journal } = header;
  if (journal && journal.state !== 'closed') return journal.folded;
  const site = { mirrorUuid: '', snapshots: mirrorSnapshots(header) };
  const newest = newestPoint(site);
  const point = newest && pointOf(newest, site.mirrorUuid);
  return point ? placeAt(point) : journal?.folded;
}

/** As a replica tells its primary: the one or the other. */
export type StatusPlace = { position?: JournalPosition | undefined; point?: Point | undefined };

export function statusPlace({ epoch, mirrorUuid = '', ...place }: Place): StatusPlace {
  if (epoch !== undefined) return { position: { ...place, epoch } };
  return mirrorUuid === '' ? {} : { point: { mirrorUuid, snapId: place.entry } };
}

export const placeOfStatus = ({ position, point }: StatusPlace): Place | undefined =>
  position ?? (point && placeAt(point));
