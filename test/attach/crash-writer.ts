// A process for crash tests: attaches images of a bucket in a directory, writes the pattern into all of them, and tells what was
// flushed. It is killed.

import { writeSync } from 'node:fs';
import { systemClock } from '../../lib/clock.ts';
import { systemRandom } from '../../lib/random.ts';
import { attachForCrashes, crashDeps, type WriterTask } from './crash-image.ts';
import { dataOf, requestOf, sectorBytes } from './pattern.ts';

const task = JSON.parse(process.argv[2]!) as WriterTask;
const deps = crashDeps(task.directory);
const requestsAtOnceMax = 12;

/** On one line, at once: a pipe takes it whole. */
const tell = (image: string, seq: number): void => void writeSync(1, `${image} ${seq}\n`);

async function writeInto({ image, seed, firstSeq }: WriterTask['images'][number]): Promise<never> {
  const attached = await attachForCrashes(deps, image, task.walDirectory);
  const sectorCount = attached.sizeBytes / sectorBytes;
  for (let seq = firstSeq; ;) {
    const atOnce = 1 + Math.floor(systemRandom.fraction() * requestsAtOnceMax);
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
    if (systemRandom.fraction() < 0.3) {
      await attached.flush();
      tell(image, seq - 1);
    }
    if (systemRandom.fraction() < 0.05) await attached.maintain();
    await systemClock.sleep(0);
  }
}

await Promise.all(task.images.map(writeInto));
