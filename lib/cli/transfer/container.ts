// Owns `--export-format 2`: an image with its user snapshots, metadata, features and object size as one stream, out and in.

import { FarsideError } from '../../errors.ts';
import type { Compression } from '../../image/format/codec.ts';
import type { ImageDeps, ImageSpec } from '../../image/deps.ts';
import { featureBits, featuresDefault, featuresOf, type Feature } from '../../image/features.ts';
import { userSnapshots } from '../../image/header.ts';
import type { AskedCreation } from '../../image/options.ts';
import { HistoryImport, type HistoryOptions } from '../../image/imports/import-history.ts';
import { findUserSnapshot } from '../../image/info.ts';
import { userSnapshotsMax } from '../../image/snapshots.ts';
import type { ByteSource } from '../../stream/byte-source.ts';
import {
  encodeDiffCount,
  encodeProperties,
  readDiffCount,
  readProperties,
  type FoundProperties,
} from '../../stream/container.ts';
import { DiffReader, readDiffHead } from '../../stream/diff-reader.ts';
import type { Progress } from '../output/progress.ts';
import { openReadable, type Readable } from './export.ts';
import { diffStream, headPoint, snapshotPoint, type Difference, type Point } from './export-diff.ts';
import { applyData, checkHead, newSnapshot, withBytes } from './import-diff.ts';
import type { Source } from './source.ts';

/** What another image may begin with; the rest says how a cluster keeps this one. */
const kept = (features: readonly string[]): Feature[] => featuresDefault.filter((name) => features.includes(name));

/** `totalBytes`: the largest value that the progress reaches. */
export type Container = {
  parts: (progress: Pick<Progress, 'update'>) => AsyncGenerator<Uint8Array>;
  totalBytes: number;
};

/** With a snapshot named, still the whole image, as rbd does. ENOENT, EAGAIN: as `openContent`. */
export async function openContainer(deps: ImageDeps, spec: ImageSpec): Promise<Container> {
  const readable = await openReadable(deps, spec);
  const { header } = readable;
  if (spec.snap !== undefined) findUserSnapshot(header, spec.snap);
  return containerOf(readable, [...userSnapshots(header).map(snapshotPoint), headPoint(header)]);
}

/** `points`: snapshots, then what the head is to be. */
export function containerOf({ header, store }: Readable, points: readonly Point[]): Container {
  const { objectBytes } = header;
  const properties = encodeProperties({
    order: Math.log2(objectBytes),
    features: BigInt(featureBits(kept(header.features))),
    stripeUnitBytes: objectBytes,
    stripeCount: 1,
    meta: Object.entries(header.meta).toSorted(([a], [b]) => Buffer.from(a).compare(Buffer.from(b))),
  });
  async function* parts(progress: Pick<Progress, 'update'>): AsyncGenerator<Uint8Array> {
    yield properties;
    yield encodeDiffCount(points.length);
    let doneBytes = 0;
    for (const [index, to] of points.entries()) {
      const difference: Difference = { store, objectBytes, from: points[index - 1], to, wholeObject: false };
      yield* diffStream(2, difference, { update: (bytes) => progress.update(doneBytes + bytes) });
      doneBytes += to.sizeBytes;
    }
  }
  return { parts, totalBytes: points.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) };
}

/** What is asked goes before what the stream says. */
export type ContainerImportOptions = AskedCreation & {
  compression: Compression | undefined;
  progress: Pick<Progress, 'update'>;
};

/** EEXIST: the name is taken. EINVAL: no such stream, or one that contradicts itself. EDOM: it is cut off. EBADMSG: damaged. */
export async function importContainer(
  deps: ImageDeps,
  spec: ImageSpec,
  source: Source,
  options: ContainerImportOptions,
): Promise<void> {
  await withBytes(source, 'EDOM', async (bytes) => {
    const properties = await readProperties(bytes);
    const diffCount = await readDiffCount(bytes, userSnapshotsMax + 1);
    const running = await HistoryImport.start(deps, spec, historyOptions(properties, options));
    for (let count = 0; count < diffCount; count++) await importStep(running, bytes, options.progress);
    await running.finish();
    options.progress.update(bytes.positionBytes);
  });
}

const historyOptions = (
  { order, features, meta }: FoundProperties,
  { progress: _, compression, ...asked }: ContainerImportOptions,
): HistoryOptions => ({
  ...asked,
  objectBytes: asked.objectBytes ?? (order === undefined ? undefined : 2 ** order),
  features:
    asked.features ?? (features === undefined ? undefined : kept(featuresOf(Number(BigInt.asUintN(31, features))))),
  meta,
  compression,
});

async function importStep(
  running: HistoryImport,
  bytes: ByteSource,
  progress: Pick<Progress, 'update'>,
): Promise<void> {
  const reader = await DiffReader.open(bytes, [2]);
  const head = await readDiffHead(reader);
  checkHead(running.header, head);
  const last = userSnapshots(running.header).at(-1)?.name;
  if (head.from !== last) throw new FarsideError('EINVAL', 'the diffs in the stream do not follow each other');
  const sizeBytes = head.sizeBytes ?? running.header.sizeBytes;
  const patch = running.beginStep();
  await applyData(patch, reader, { head, sizeBytes, progress });
  await running.endStep(sizeBytes, newSnapshot(head));
}
