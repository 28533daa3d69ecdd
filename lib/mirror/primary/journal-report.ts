// Owns what is shown of a journal, in the words of rbd's `journal` commands. Rbd's journal lies in objects, ours in segments: an
// object number is a segment's number in its epoch, a tag is an epoch, an entry is a request of the writer, and a set is a segment.
// What is in no epoch, since no writer has the image attached, has tag 0, and an entry is a point: the id of a mirror snapshot.

import { keyText } from '../../bucket/keys.ts';
import { FarsideError } from '../../errors.ts';
import { assertWritable, openHeader } from '../../image/access.ts';
import { assertNotAttached } from '../../image/journal/attachment.ts';
import type { ImageSpec } from '../../image/deps.ts';
import { breakEpoch } from '../../image/journal/epochs.ts';
import type { Header } from '../../image/header.ts';
import { parseEpochId } from '../../image/ids.ts';
import { isFence } from '../../image/format/fence.ts';
import { parseWholeSegment } from '../../image/journal/segment.ts';
import { statusFrom } from './acknowledge.ts';
import { firstFree } from '../roles/dense.ts';
import type { MirrorDeps } from '../deps.ts';
import { takePoint } from './points.ts';
import { readPool, sends } from '../pool.ts';
import type { PeerRecord, Pool } from '../pool.ts';
import { positionOf } from '../copy-status.ts';
import { placeOf, placeOfStatus, type Place } from '../place.ts';

/** log₂ of the bytes that a segment may have. */
const order = 23;

export type JournalInfo = {
  journal_id: string;
  header_oid: string;
  object_oid_prefix: string;
  order: number;
  splay_width: number;
};
export type JournalClient = {
  id: string;
  commit_position: { object_positions: ReturnType<typeof positionOf>[] };
  state: 'connected' | 'disconnected';
};
export type JournalStatus = { minimum_set: number; active_set: number; registered_clients: JournalClient[] };
/** `next`: where to go on; absent at the end. */
export type JournalInspection = { entries: number; errors: { object_number: number; error: string }[]; next?: number };

export async function openJournaled(
  deps: MirrorDeps,
  spec: ImageSpec,
): Promise<Awaited<ReturnType<typeof openHeader>>> {
  const stored = await openHeader(deps, spec);
  if (stored.value.features.includes('journaling')) return stored;
  throw new FarsideError('EINVAL', `journaling is not enabled for image ${spec.image}`);
}

export async function journalInfo(deps: MirrorDeps, spec: ImageSpec): Promise<JournalInfo> {
  const { imageId } = (await openJournaled(deps, spec)).value;
  return {
    journal_id: imageId,
    header_oid: `journal.${imageId}`,
    object_oid_prefix: `journal_data.${imageId}.`,
    order,
    splay_width: 1,
  };
}

export async function journalStatus(deps: MirrorDeps, spec: ImageSpec): Promise<JournalStatus> {
  const { value: header } = await openJournaled(deps, spec);
  const pool = (await readPool(deps, spec.pool)).value;
  const end = await endSeq(deps, header);
  const own = header.journal?.folded;
  const peers = header.mirror?.mode === 'journal' ? pool.peers.filter(sends) : [];
  const registered = await Promise.all(peers.map((peer) => clientOf(deps, header, pool, peer)));
  const committed = registered.flatMap(({ place, client }) =>
    place && own && place.epoch === own.epoch && client.state === 'connected' ? [place.seq] : [],
  );
  return {
    minimum_set: Math.min(own?.seq ?? 0, ...committed),
    active_set: end,
    registered_clients: [clientShape('', placeOf(header), 'connected'), ...registered.map(({ client }) => client)],
  };
}

async function clientOf(
  deps: MirrorDeps,
  { mirror }: Header,
  pool: Pool,
  { uuid, mirrorUuid }: PeerRecord,
): Promise<{ place: Place | undefined; client: JournalClient }> {
  const place = placeOfStatus((await statusFrom(deps, pool.name, mirror!.globalId, uuid)) ?? {});
  const isDisconnected = mirror?.disconnected?.includes(uuid) === true;
  return { place, client: clientShape(mirrorUuid, place, isDisconnected ? 'disconnected' : 'connected') };
}

const clientShape = (id: string, place: Place | undefined, state: JournalClient['state']): JournalClient => ({
  id,
  commit_position: { object_positions: place ? lastPositions(place) : [] },
  state,
});

/** Rbd writes to so many objects in turn, by default, and shows the newest entry in each. */
const positionsMax = 4;

/** The newest first, then those before it: scripts look for the first of several. */
function lastPositions(place: Place): ReturnType<typeof positionOf>[] {
  const { epoch, seq, entry } = place;
  const count = Math.min(positionsMax, 1 + entry, epoch === undefined ? positionsMax : 1 + seq);
  return Array.from({ length: count }, (_, back) =>
    positionOf({ ...place, entry: entry - back, seq: epoch === undefined ? seq : seq - back }),
  );
}

/** The first free slot of the epoch. */
export async function endSeq(deps: Pick<MirrorDeps, 'bucket'>, { imageId, journal }: Header): Promise<number> {
  if (!journal) return 0;
  const { epoch, seq: from } = journal.folded;
  if (journal.state === 'closed') return from;
  return firstFree(
    from,
    async (seq) => (await deps.bucket.head(keyText({ kind: 'slot', imageId, epoch, seq }))) !== undefined,
  );
}

/** Segments verified by one request. */
const inspectedMax = 64;

/** Of the newest epoch, what is not folded: the rest is in the map, which `object-map check` verifies. */
export async function inspectJournal(deps: MirrorDeps, spec: ImageSpec, from?: number): Promise<JournalInspection> {
  const { value: header } = await openJournaled(deps, spec);
  const result: JournalInspection = { entries: 0, errors: [] };
  if (!header.journal) return result;
  const first = from ?? header.journal.folded.seq;
  for (let seq = first; seq < first + inspectedMax; seq++) {
    const found = await inspectSlot(deps, header, header.journal.folded.epoch, seq);
    if (found === 'end') return result;
    if (typeof found === 'number') result.entries += found;
    else result.errors.push({ object_number: seq, error: found.error });
  }
  return { ...result, next: first + inspectedMax };
}

async function inspectSlot(
  deps: MirrorDeps,
  { imageId }: Header,
  epoch: string,
  seq: number,
): Promise<number | 'end' | { error: string }> {
  const found = await deps.bucket.get(keyText({ kind: 'slot', imageId, epoch, seq }));
  if (found.status !== 'found') return 'end';
  try {
    const slot = { epoch: parseEpochId(epoch), seq };
    if (isFence(found.body, slot)) return 'end';
    return parseWholeSegment(found.body, slot).segment.entryCount;
  } catch (error) {
    if (error instanceof FarsideError) return { error: error.message };
    throw error;
  }
}

/** A journal that is whole in the map, and a point that says so. EBUSY: the image is attached. EROFS: it is a replica. */
export async function resetJournal(deps: MirrorDeps, spec: ImageSpec): Promise<void> {
  const stored = await openJournaled(deps, spec);
  assertWritable(stored.value);
  assertNotAttached(stored.value);
  await takePoint(deps, await breakEpoch(deps, stored));
}
