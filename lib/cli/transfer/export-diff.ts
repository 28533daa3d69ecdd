// Owns the way of an image's changes to the outside: from the maps of two roots to the bytes of a diff stream. What reads as
// zeros is found out and sent as such. Every byte is verified by the engine before it is sent.
//
// Memory: `groupsAhead` groups of ranges, each with at most twice `groupBytes` of data.

import { FarsideError } from '../../errors.ts';
import { changedRanges, type ChangedRange } from '../../image/map/changes.ts';
import type { ImageDeps, ImageSpec } from '../../image/deps.ts';
import { isZero } from '../../image/format/digest.ts';
import type { Header, Root, Snapshot } from '../../image/header.ts';
import { findSnapshot, findUserSnapshot } from '../../image/info.ts';
import type { PackStore } from '../../image/packs/pack-store.ts';
import { ahead, readSpans, type DataPiece } from '../../image/map/read.ts';
import type { DiffVersion } from '../../stream/diff-format.ts';
import { diffEnd, encodeHead, encodeRecord } from '../../stream/diff-writer.ts';
import type { Progress } from '../output/progress.ts';
import { openReadable } from './export.ts';
import { framed, snapshotContextFrame } from '../output/wording.ts';

/** A moment of an image: a snapshot, or the head, which has no name. */
export type Point = { root: Root | null; sizeBytes: number; snapshot?: Pick<Snapshot, 'name' | 'protected'> };
/** `from`: undefined when the difference is from an image without data. */
export type Difference = {
  store: PackStore;
  objectBytes: number;
  from: Point | undefined;
  to: Point;
  wholeObject: boolean;
};

/** `fromSnapId`: of a user snapshot, as `fromSnap` is a name of one. */
export type DifferenceOptions = {
  fromSnap: string | undefined;
  fromSnapId: number | undefined;
  wholeObject: boolean;
};

/** A record of data carries no more than this. */
const recordBytesMax = 4 * 1024 * 1024;
const groupBytes = 4 * 1024 * 1024;
const groupRangesMax = 1024;
const groupsAhead = 3;
const zeros = Buffer.alloc(1024 * 1024);

export const snapshotPoint = (snapshot: Snapshot): Point => ({
  root: snapshot.root,
  sizeBytes: snapshot.sizeBytes,
  snapshot,
});
export const headPoint = ({ root, sizeBytes }: Header): Point => ({ root, sizeBytes });

/**
 * What changed up to `spec`, worded as the failure of a verb. ENOENT: no such image or snapshot. EINVAL: the start is newer than
 * the end. EAGAIN: as `openContent`.
 */
export async function openDifference(
  deps: ImageDeps,
  spec: ImageSpec,
  { fromSnap, fromSnapId, wholeObject }: DifferenceOptions,
  failure: string,
): Promise<Difference> {
  const { header, store, to } = await framed(snapshotContextFrame(failure), async () => {
    const readable = await openReadable(deps, spec);
    return { ...readable, to: spec.snap === undefined ? undefined : findUserSnapshot(readable.header, spec.snap) };
  });
  const from = await framed({ text: failure, errno: true }, async () =>
    findStart(header, { fromSnap, fromSnapId }, to),
  );
  return {
    store,
    objectBytes: header.objectBytes,
    from: from && snapshotPoint(from),
    to: to ? snapshotPoint(to) : headPoint(header),
    wholeObject,
  };
}

function findStart(
  header: Header,
  { fromSnap, fromSnapId }: Pick<DifferenceOptions, 'fromSnap' | 'fromSnapId'>,
  to: Snapshot | undefined,
): Snapshot | undefined {
  if (fromSnap !== undefined && fromSnapId !== undefined)
    throw new FarsideError('EINVAL', 'trying to access snapshot using both name and id.');
  if (fromSnap === undefined && fromSnapId === undefined) return undefined;
  const from = fromSnap === undefined ? userSnapshotById(header, fromSnapId!) : findUserSnapshot(header, fromSnap);
  if (!to || from.id <= to.id) return from;
  throw new FarsideError('EINVAL', `snapshot ${from.name} is newer than snapshot ${to.name}`);
}

/** A diff names where it starts, so a mirror snapshot, whose name is nobody's, is no start. */
function userSnapshotById(header: Header, id: number): Snapshot {
  const snapshot = findSnapshot(header, { id });
  if (snapshot.namespace.type === 'user') return snapshot;
  throw new FarsideError('EINVAL', `snapshot ${id} of image ${header.name} is mirroring's own, and no start of a diff`);
}

export const differenceRanges = ({
  store,
  objectBytes,
  from,
  to,
  wholeObject,
}: Difference): AsyncGenerator<ChangedRange> =>
  changedRanges({ store, objectBytes, from: from?.root ?? null, to: to.root, sizeBytes: to.sizeBytes, wholeObject });

/** A whole diff stream, from its banner to its end. */
export async function* diffStream(
  version: DiffVersion,
  difference: Difference,
  progress: Pick<Progress, 'update'>,
): AsyncGenerator<Uint8Array> {
  const { store, objectBytes, from, to } = difference;
  yield encodeHead(version, {
    from: from?.snapshot?.name,
    to: to.snapshot?.name,
    isProtected: to.snapshot?.protected ?? false,
    sizeBytes: to.sizeBytes,
  });
  const load = async (ranges: readonly ChangedRange[]): Promise<Loaded> => {
    const spans = ranges.filter((range) => range.exists);
    return { ranges, pieces: await readSpans(store, to.root, objectBytes, spans) };
  };
  for await (const loaded of ahead(groups(differenceRanges(difference)), load, groupsAhead)) {
    yield* records(version, loaded);
    progress.update(loaded.ranges.at(-1)!.offset);
  }
  yield diffEnd;
  progress.update(to.sizeBytes);
}

/** Ranges that are read at once. Long ones are cut. */
async function* groups(ranges: AsyncIterable<ChangedRange>): AsyncGenerator<ChangedRange[]> {
  let group: ChangedRange[] = [];
  let bytes = 0;
  for await (const range of ranges) {
    for (const part of range.exists ? parts(range) : [range]) {
      group.push(part);
      bytes += part.exists ? part.length : 0;
      if (bytes < groupBytes && group.length < groupRangesMax) continue;
      yield group;
      group = [];
      bytes = 0;
    }
  }
  if (group.length > 0) yield group;
}

function* parts({ offset, length, exists }: ChangedRange): Generator<ChangedRange> {
  for (let done = 0; done < length; done += recordBytesMax)
    yield { offset: offset + done, length: Math.min(recordBytesMax, length - done), exists };
}

/** `pieces`: the data in `ranges`, ascending. */
type Loaded = { ranges: readonly ChangedRange[]; pieces: readonly DataPiece[] };

function* records(version: DiffVersion, { ranges, pieces }: Loaded): Generator<Uint8Array> {
  let next = 0;
  for (const { offset, length } of ranges) {
    const first = next;
    while (next < pieces.length && pieces[next]!.offset < offset + length) next++;
    const data = pieces.slice(first, next);
    const type = data.every((piece) => isZero(piece.data)) ? 'zero' : 'write';
    yield encodeRecord(version, { type, offset, length });
    if (type === 'write') yield* filled({ offset, length }, data);
  }
}

/** The bytes of a range: its data, and zeros between. */
function* filled(range: { offset: number; length: number }, data: readonly DataPiece[]): Generator<Uint8Array> {
  let at = range.offset;
  for (const piece of data) {
    yield* zeroBytes(piece.offset - at);
    yield piece.data;
    at = piece.offset + piece.data.length;
  }
  yield* zeroBytes(range.offset + range.length - at);
}

function* zeroBytes(length: number): Generator<Uint8Array> {
  for (let left = length; left > 0; left -= zeros.length) yield zeros.subarray(0, Math.min(left, zeros.length));
}
