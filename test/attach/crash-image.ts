// What the processes of a crash test share: a bucket in a directory, and images that are sealed and folded often.

import { AttachedImage } from '../../lib/attach/attached-image.ts';
import { attachLimitsDefault, type AttachLimits } from '../../lib/attach/limits.ts';
import { Bucket } from '../../lib/bucket/bucket.ts';
import { FileDriver } from '../../lib/bucket/file.ts';
import { systemClock } from '../../lib/clock.ts';
import { settingsDefault, type ImageDeps } from '../../lib/image/deps.ts';
import { DiskLog, orphanText, replayLog } from '../../lib/node/wal.ts';
import { systemRandom } from '../../lib/random.ts';
import { spec } from '../image/model.ts';

export type WriterTask = {
  directory: string;
  walDirectory?: string;
  images: { image: string; seed: string; firstSeq: number }[];
};

const limits: AttachLimits = {
  ...attachLimitsDefault,
  segmentBytesMax: 96 * 1024,
  pendingBytesMax: 256 * 1024,
  foldSegmentsMax: 6,
};

export const crashSizeBytes = 2 * 1024 * 1024;
export const crashObjectBytes = 128 * 1024;

export function crashDeps(directory: string): ImageDeps {
  const deps = { clock: systemClock, random: systemRandom };
  return { ...deps, bucket: new Bucket(new FileDriver(directory, deps), deps), settings: settingsDefault };
}

/** Whoever had it is known to be dead. What is in a log goes to the bucket first. */
export async function attachForCrashes(deps: ImageDeps, image: string, walDirectory?: string): Promise<AttachedImage> {
  const owner = { lockId: 'auto 1', locker: 'client.1', address: `crash:0/${process.pid}`, sinceMs: 0 };
  const options = { owner, limits, isGone: (): boolean => true };
  if (walDirectory === undefined) return await AttachedImage.open(deps, spec(image), options);
  const { orphans } = await replayLog(deps, spec(image), walDirectory);
  if (orphans.length > 0) throw new Error(`${image}: ${orphanText(orphans[0]!)}`);
  return await AttachedImage.open(deps, spec(image), {
    ...options,
    wal: ({ imageId, epoch }) => new DiskLog(walDirectory, imageId, epoch),
  });
}
