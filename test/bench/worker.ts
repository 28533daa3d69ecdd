// What the Worker takes while it copies an initial sync, in workerd under Miniflare: memory of its isolate and processor time,
// against the limits of Cloudflare.
//
// Memory is asked of V8's inspector: heap and buffers as V8 leaves them, garbage included, since workerd lets nobody collect.
// Processor time is the whole process's, R2's simulation with it, so an upper bound. It is given for the largest batch that one
// invocation may get: ten pieces.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { choosePort, loopback } from '../../infra/local/free-port.ts';
import { startMiniflareSite } from '../../infra/local/miniflare-site.ts';
import { sitePaths } from '../../infra/local/site-directory.ts';
import { recordedPid } from '../../infra/local/workerd-guard.ts';
import { assert } from '../../lib/errors.ts';
import { limitsDefault } from '../../lib/mirror/limits.ts';
import { systemRandom as random } from '../../lib/random.ts';
import { deliverySettings } from '../../lib/site/delivery.ts';
import { startSites, type Site } from '../platform/sites.ts';
import { makeFile, MiB } from './content.ts';
import { consumerHere, introduce } from './memory.ts';
import { post, replicaAt } from './peered.ts';
import type { Figure } from './report.ts';

const imageBytes = 512 * MiB;
const sampleMs = 100;
/** Of an isolate: V8's heap and its buffers. */
const isolateMiBMax = 128;
/** `cpu_ms` of wrangler.toml, and the wall time of a queue's consumer. */
const cpuSecondsMax = 300;
const wallSecondsMax = 900;
const ticksPerSecond = 100;

export async function workerConsumer(): Promise<Figure[]> {
  const sites = await startSites(['site-a'], { platform: 'node', tickSeconds: 3600 });
  const directory = mkdtempSync(join(tmpdir(), 'farside-worker-'));
  const { port, config, b } = await consumerHere('miniflare');
  const inspectorPort = await choosePort(random);
  const running = await startMiniflareSite({ directory, port, config, log: () => {} }, { inspectorPort });
  try {
    return await measure(sites.all[0]!, b, { directory, inspectorPort });
  } finally {
    await running.stop();
    await sites.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

async function measure(
  a: Site,
  b: Pick<Site, 'name' | 'fetch'>,
  { directory, inspectorPort }: { directory: string; inspectorPort: number },
): Promise<Figure[]> {
  await introduce(a, b);
  const source = join(directory, 'worker.img');
  makeFile(source, imageBytes, 'mixed');
  await a.farsideOk('import', '--no-progress', source, 'rbd/image');
  const memory = await watchIsolate(inspectorPort);
  const pid = recordedPid(sitePaths(directory).workerdPid);
  assert(pid !== undefined, 'workerd runs');
  const [startMs, cpuBefore] = [performance.now(), cpuSeconds(pid)];
  await post(a, '/v1/pools/rbd/images/image/mirror', { mode: 'snapshot' });
  await replicaAt(b, 'image', 1, sampleMs);
  const wall = (performance.now() - startMs) / 1000;
  const cpu = cpuSeconds(pid) - cpuBefore;
  return figures({ mostBytes: await memory.stop(), idleBytes: memory.idleBytes, cpu, wall });
}

type Watch = { idleBytes: number; stop: () => Promise<number> };

/** Heap and buffers of the Worker's isolate, now and at most until it is stopped. */
async function watchIsolate(inspectorPort: number): Promise<Watch> {
  const targets = (await (await fetch(`http://${loopback}:${inspectorPort}/json/list`)).json()) as {
    id: string;
    webSocketDebuggerUrl: string;
  }[];
  const target = targets.find(({ id }) => id === 'core:user:farside');
  assert(target !== undefined, 'workerd shows the Worker to its inspector');
  const socket = new WebSocket(target.webSocketDebuggerUrl);
  await new Promise((resolve) => socket.addEventListener('open', resolve, { once: true }));
  const ask = (): Promise<number> =>
    new Promise((resolve) => {
      socket.addEventListener('message', ({ data }) => resolve(bytesIn(String(data))), { once: true });
      socket.send(JSON.stringify({ id: 1, method: 'Runtime.getHeapUsage' }));
    });
  const idleBytes = await ask();
  let mostBytes = idleBytes;
  let isStopped = false;
  const watching = (async () => {
    while (!isStopped) {
      mostBytes = Math.max(mostBytes, await ask());
      await new Promise((resolve) => setTimeout(resolve, sampleMs));
    }
  })();
  return {
    idleBytes,
    stop: async () => {
      isStopped = true;
      await watching;
      socket.close();
      return mostBytes;
    },
  };
}

function bytesIn(answer: string): number {
  const { result } = JSON.parse(answer) as { result: Record<'usedSize' | 'backingStorageSize', number> };
  return result.usedSize + result.backingStorageSize;
}

/** User and system time of a process (Linux). */
function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

type Measured = { mostBytes: number; idleBytes: number; cpu: number; wall: number };

function figures({ mostBytes, idleBytes, cpu, wall }: Measured): Figure[] {
  const batchBytes = deliverySettings.batchMessagesMax * limitsDefault.pieceBytesMax;
  const perBatch = batchBytes / imageBytes;
  const how = `${imageBytes / MiB} MiB took`;
  return [
    {
      name: 'Worker, memory of its isolate',
      value: mostBytes / MiB,
      unit: 'MiB',
      atMost: isolateMiBMax,
      note: `heap and buffers, garbage included, during an initial sync; ${(idleBytes / MiB).toFixed(0)} MiB before it`,
    },
    {
      name: 'Worker, CPU of the largest batch',
      value: cpu * perBatch,
      unit: 's',
      atMost: cpuSecondsMax,
      note: `${how} ${cpu.toFixed(1)} s of all of workerd, the simulation of R2 with it; ${(batchBytes / MiB).toFixed(0)} MiB in proportion`,
    },
    {
      name: 'Worker, time of the largest batch',
      value: wall * perBatch,
      unit: 's',
      atMost: wallSecondsMax,
      note: `${how} ${wall.toFixed(1)} s; ${(batchBytes / MiB).toFixed(0)} MiB in proportion`,
    },
  ];
}
