// What the processes of a crash test share: a bucket in a directory, and images that are sealed and folded often.

import { AttachedImage } from '../../lib/attach/attached-image.ts';
import { attachLimitsDefault, type AttachLimits } from '../../lib/attach/limits.ts';
import { Bucket } from '../../lib/bucket/bucket.ts';
import { FileDriver } from '../../lib/bucket/file.ts';
import { systemClock } from '../../lib/clock.ts';
import { settingsDefault, type ImageDeps } from '../../lib/image/deps.ts';
import { pointTaker, type PointTerms } from '../../lib/mirror/primary/points.ts';
import { DiskLog, orphanText, replayLog } from '../../lib/node/wal.ts';
import { systemRandom } from '../../lib/random.ts';
import { spec } from '../image/model.ts';
import { dataOf, requestOf, sectorBytes } from './pattern.ts';

export type ImageTask = { image: string; seed: string; firstSeq: number };

/** `terms`: the images are mirrored by their journal, and whoever attaches one takes points of it. */
export type WriterTask = {
  directory: string;
  walDirectory?: string | undefined;
  terms?: PointTerms | undefined;
  images: readonly ImageTask[];
};

const limits: AttachLimits = {
  ...attachLimitsDefault,
  segmentBytesMax: 96 * 1024,
  pendingBytesMax: 256 * 1024,
  foldSegmentsMax: 6,
};
const requestsAtOnceMax = 12;

export function crashDeps(directory: string, terms?: PointTerms): ImageDeps {
  const deps = { clock: systemClock, random: systemRandom };
  return {
    ...deps,
    bucket: new Bucket(new FileDriver(directory, deps), deps),
    settings: settingsDefault,
    ...(terms && { points: { withPoint: pointTaker(deps, async () => terms), announce: async () => {} } }),
  };
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

/** Writes the pattern without an end, and tells the number of the last request that is flushed. */
export async function writeOn(
  { deps, attached }: { deps: ImageDeps; attached: AttachedImage },
  { seed, firstSeq }: ImageTask,
  tell: (seq: number) => void,
): Promise<never> {
  const { clock, random } = deps;
  const sectorCount = attached.sizeBytes / sectorBytes;
  for (let seq = firstSeq; ;) {
    const atOnce = 1 + Math.floor(random.fraction() * requestsAtOnceMax);
    const accepted: Promise<void>[] = [];
    for (let i = 0; i < atOnce; i++, seq++) {
      const request = requestOf(seed, seq, sectorCount);
      const offset = request.sector * sectorBytes;
      accepted.push(
        request.type === 'write'
          ? attached.write(offset, dataOf(request))
          : attached.zero(offset, request.sectors * sectorBytes),
      );
    }
    await Promise.all(accepted);
    if (random.fraction() < 0.3) {
      await attached.flush();
      tell(seq - 1);
    }
    if (random.fraction() < 0.05) await attached.maintain();
    await clock.sleep(0);
  }
}
