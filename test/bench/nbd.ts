// `nbd serve` as a process, at work for nbdcopy: throughput against nbdkit's memory disk, which keeps nothing, with the same client
// in the same run; and what the server takes of memory while it does so.

import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { readFileSync, rmSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { findTool } from '../require.ts';
import { NbdProcess } from '../platform/nbd-process.ts';
import { waitUntil, type Site } from '../platform/sites.ts';
import { makeFile, MiB, warm } from './content.ts';
import type { Peered } from './peered.ts';
import { median, type Figure } from './report.ts';

export const nbdTools = ['nbdkit', 'nbdcopy'];
const diskBytes = 256 * MiB;
const rounds = 3;
const sampleMs = 100;
const writeRatioMin = 0.3;
const readRatioMin = 0.15;
/** Idle, a Node process with its threads takes about 110; the budgets of an image and of the server add up to some 200. */
const residentMiBMax = 400;

/** In turn, so that a drifting machine hits both. */
export async function nbdThroughput({ a, directory }: Peered): Promise<Figure[]> {
  const source = join(directory, 'nbd.img');
  makeFile(source, diskBytes, 'random');
  warm(source);
  const written: number[] = [];
  const read: number[] = [];
  const readOfMap: number[] = [];
  const resident: number[] = [];
  const idle: number[] = [];
  let seconds = { write: 0, read: 0 };
  for (let round = 0; round < rounds; round++) {
    const plain = await withMemoryDisk(directory, (uri) => writeAndRead(source, uri));
    const image = `nbd-${round}`;
    await a.farsideOk('create', '--size', `${diskBytes / MiB}M`, `rbd/${image}`);
    seconds = await served(a, { image, directory }, async (uri, pid) => {
      idle.push(residentMiB(pid));
      const watch = watchResident(pid);
      const taken = await writeAndRead(source, uri);
      resident.push(watch.stop());
      return taken;
    });
    const again = await served(a, { image, directory }, (uri) => copySeconds(uri, 'null:'));
    written.push(plain.write / seconds.write);
    read.push(plain.read / seconds.read);
    readOfMap.push(plain.read / again);
    await a.farsideOk('rm', '--no-progress', `rbd/${image}`);
  }
  rmSync(source);
  const how = `${diskBytes / MiB} MiB of random data by nbdcopy, whole processes, median of ${rounds}; ÷ the same on nbdkit memory`;
  const rate = (taken: number): string => `last run ${(diskBytes / MiB / taken).toFixed(0)} MiB/s`;
  return [
    {
      name: 'NBD sequential write',
      value: median(written),
      unit: 'ratio',
      atLeast: writeRatioMin,
      note: `${how}, which keeps nothing; flushed at the end, so in files and fsynced; ${rate(seconds.write)}`,
    },
    {
      name: 'NBD sequential read',
      value: median(read),
      unit: 'ratio',
      atLeast: readRatioMin,
      note: `${how}; right after it was written; every block verified by its hash; ${rate(seconds.read)}`,
    },
    {
      name: 'NBD sequential read, by another server',
      value: median(readOfMap),
      unit: 'ratio',
      atLeast: readRatioMin,
      note: `${how}; found by the map`,
    },
    {
      name: 'NBD server, resident memory',
      value: Math.max(...resident),
      unit: 'MiB',
      atMost: residentMiBMax,
      note: `the most, sampled every ${sampleMs} ms while it is written and read, with default options; idle ${median(idle).toFixed(0)} MiB`,
    },
  ];
}

/** Serves an image while `work` goes on. */
async function served<T>(
  site: Site,
  { image, directory }: { image: string; directory: string },
  work: (uri: string, pid: number) => Promise<T>,
): Promise<T> {
  const server = await NbdProcess.start(site, { images: [image], socket: join(directory, 'nbd.sock') });
  try {
    return await work(server.uri(`rbd/${image}`), server.pid);
  } finally {
    await server.stop();
  }
}

type Seconds = { write: number; read: number };

async function writeAndRead(source: string, uri: string): Promise<Seconds> {
  return { write: await copySeconds('--flush', source, uri), read: await copySeconds(uri, 'null:') };
}

function copySeconds(...words: string[]): Promise<number> {
  const startMs = performance.now();
  return new Promise((resolve, reject) => {
    execFile(findTool('nbdcopy')!, words, (error, _, stderr) => {
      if (error) reject(new Error(`nbdcopy ${words.join(' ')}: ${stderr}`));
      else resolve((performance.now() - startMs) / 1000);
    });
  });
}

async function withMemoryDisk<T>(directory: string, work: (uri: string) => Promise<T>): Promise<T> {
  const socket = join(directory, 'nbdkit.sock');
  const words = ['--foreground', '--exit-with-parent', '--unix', socket, 'memory', `${diskBytes / MiB}M`];
  const kit: ChildProcess = spawn(findTool('nbdkit')!, words, { stdio: 'inherit' });
  try {
    await waitUntil(() => existsSync(socket), 'nbdkit listens');
    return await work(`nbd+unix:///?socket=${encodeURI(socket)}`);
  } finally {
    const ended = new Promise((resolve) => kit.once('close', resolve));
    kit.kill('SIGTERM');
    await ended;
    rmSync(socket, { force: true });
  }
}

/** The most that a process has had resident since then. */
function watchResident(pid: number): { stop: () => number } {
  let most = residentMiB(pid);
  const timer = setInterval(() => (most = Math.max(most, residentMiB(pid))), sampleMs);
  return {
    stop: () => {
      clearInterval(timer);
      return Math.max(most, residentMiB(pid));
    },
  };
}

/** Linux. */
function residentMiB(pid: number): number {
  const kibibytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kibibytes) / 1024;
}
