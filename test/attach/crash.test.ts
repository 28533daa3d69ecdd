// A writer is killed (SIGKILL) at random points, over and over: what is there afterwards is exactly what a prefix of its requests
// made, with everything that it was told is durable (I5). Seeds and rounds are told with a failure; the points in time are the
// machine's.
//
//   FARSIDE_CRASH_SECONDS=600 npx vitest run test/attach/crash.test.ts

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { createDocument } from '../../lib/bucket/document.ts';
import { keyText } from '../../lib/bucket/keys.ts';
import { systemClock } from '../../lib/clock.ts';
import type { ImageDeps } from '../../lib/image/deps.ts';
import { createImage } from '../../lib/image/images.ts';
import { systemRandom } from '../../lib/random.ts';
import { spec } from '../image/model.ts';
import { attachForCrashes, crashDeps, crashObjectBytes, crashSizeBytes, type WriterTask } from './crash-image.ts';
import { apply, decode, prefixOf, requestOf, sectorBytes } from './pattern.ts';

const secondsDefault = 25;
const crashSeconds = Number(process.env['FARSIDE_CRASH_SECONDS'] ?? secondsDefault);
const imageCount = 16;
const killAfterMsMax = 400;
/** Requests beyond the last that was flushed, that a writer may have made. */
const unflushedMax = 20_000;

const writer = join(import.meta.dirname, 'crash-writer.ts');
const directories: string[] = [];
afterEach(() => {
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true });
});

type Place = { deps: ImageDeps; walDirectory: string | undefined };
type Tracked = { image: string; state: Uint32Array; seq: number };

function newDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'farside-crash-'));
  directories.push(directory);
  return directory;
}

/** Runs a writer, kills it after so long, and gives what it said was flushed, by image. */
async function killedWriter(task: WriterTask, afterMs: number): Promise<Map<string, number>> {
  const child = spawn(process.execPath, [writer, JSON.stringify(task)], { stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = once(child, 'close');
  let told = '';
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (told += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
  await Promise.race([once(child.stdout, 'data'), ended]);
  await systemClock.sleep(afterMs);
  child.kill('SIGKILL');
  const [, signal] = (await ended) as [number | null, string | null];
  if (signal !== 'SIGKILL') throw new Error(`the writer ended by itself:\n${said}`);
  const lines = told.split('\n').filter((line) => /^\S+ \d+$/.test(line));
  return new Map(lines.map((line) => line.split(' ')).map(([image, seq]) => [image!, Number(seq)]));
}

/** Attaches it again, and goes on from what is there. */
async function check(
  { deps, walDirectory }: Place,
  tracked: Tracked,
  seed: string,
  flushedSeq: number,
): Promise<Tracked> {
  const { image, state, seq } = tracked;
  const attached = await attachForCrashes(deps, image, walDirectory);
  const found = decode(await attached.read(0, crashSizeBytes));
  const reached = prefixOf(found, {
    seed,
    base: state,
    firstSeq: seq + 1,
    minSeq: flushedSeq,
    maxSeq: flushedSeq + unflushedMax,
  });
  const next = Uint32Array.from(state);
  for (let i = seq + 1; i <= reached; i++) apply(next, requestOf(seed, i, next.length));
  expect(next).toEqual(found);
  if (systemRandom.fraction() < 0.5) await attached.close();
  else attached.abandon();
  return { image, state: next, seq: reached };
}

describe('a writer that is killed', () => {
  test.each([
    ['the bucket', false],
    ['a log on the disk', true],
  ])(
    'leaves exactly a prefix of its requests, with all that was flushed to %s',
    { timeout: (crashSeconds + 60) * 1000 },
    async (_where, hasLog) => {
      const directory = newDirectory();
      const walDirectory = hasLog ? newDirectory() : undefined;
      const deps = crashDeps(directory);
      await createDocument(deps.bucket, keyText({ kind: 'pool', pool: 'rbd' }), {}, deps.random);
      let images: Tracked[] = [];
      for (let i = 0; i < imageCount; i++) {
        await createImage(deps, spec(`vm-${i}`), { sizeBytes: crashSizeBytes, objectBytes: crashObjectBytes });
        images.push({ image: `vm-${i}`, state: new Uint32Array(crashSizeBytes / sectorBytes), seq: 0 });
      }
      const endMs = systemClock.nowMs() + crashSeconds * 1000;
      let crashCount = 0;
      let flushedCount = 0;
      for (let round = 0; systemClock.nowMs() < endMs || round < 3; round++) {
        const seedOf = (image: string): string => `${image}-${round}`;
        const tasks = images.map(({ image, seq }) => ({ image, seed: seedOf(image), firstSeq: seq + 1 }));
        const flushed = await killedWriter(
          { directory, images: tasks, ...(walDirectory !== undefined && { walDirectory }) },
          systemRandom.fraction() * killAfterMsMax,
        );
        images = await Promise.all(
          images.map((one) => check({ deps, walDirectory }, one, seedOf(one.image), flushed.get(one.image) ?? one.seq)),
        );
        crashCount += imageCount;
        flushedCount += flushed.size;
      }
      process.stderr.write(`${crashCount} crashes, ${flushedCount} of them after a flush\n`);
      expect(flushedCount).toBeGreaterThan(imageCount);
    },
  );
});
