// Images as disks of real clients, against `nbd serve` on a mirrored site in plain Node: disk images of qemu, fio's verification,
// file systems that are checked at the replica, and a server that is killed again and again.

import { copyFileSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { systemRandom } from '../../lib/random.ts';
import { systemClock } from '../../lib/clock.ts';
import { apply, dataOf, decode, prefixOf, requestOf, sectorBytes } from '../attach/pattern.ts';
import { runTool, toolOk } from '../nbd/served.ts';
import { RawClient } from '../nbd/raw-client.ts';
import { requireTool } from '../require.ts';
import { clientOf, noise, sha256OfFile, specOf, startPair, waitSynced, type Pair } from './mirror-pair.ts';
import { NbdProcess } from './nbd-process.ts';
import type { Site } from './sites.ts';

const mebibyte = 2 ** 20;
const command = { write: 1, flush: 3, writeZeroes: 6 };

let pair: Pair;
let a: Site;
let b: Site;
let directory: string;
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'farside-disks-'));
  pair = await startPair({ platform: 'node', tickSeconds: 60 });
  ({ a, b } = pair);
});
afterAll(async () => {
  await pair?.stop();
  rmSync(directory, { recursive: true, force: true });
});

/** The home of the sites has a space in its name, which not every tool takes. */
const path = (name: string): string => join(directory, name);
const socket = (image: string): string => join(pair.home, `${image}.sock`);
const serve = (image: string): Promise<NbdProcess> => NbdProcess.start(a, { images: [image], socket: socket(image) });

/** Serves a new image while `work` goes on, and ends as it should. */
async function served(image: string, size: string, work: (uri: string) => Promise<void>): Promise<void> {
  await a.farsideOk('create', image, '--size', size);
  const server = await serve(image);
  await work(server.uri(`rbd/${image}`));
  expect(await server.stop()).toMatchObject({ code: 0, stderr: '' });
}

/** Takes a mirror snapshot, waits for it at the replica, and gives a file with what is there. */
async function atReplica(image: string): Promise<string> {
  await clientOf(a).createMirrorSnapshot(specOf(image));
  await waitSynced(image, { from: a, to: b });
  const out = path(`${image}.replica`);
  rmSync(out, { force: true });
  await b.farsideOk('export', image, out);
  return out;
}

/** Writes what differs between two files of one size, as a page cache would: 4 KiB at a time, then a flush. */
async function writeChanges(image: string, before: string, after: string): Promise<number> {
  const [old, next] = [readFileSync(before), readFileSync(after)];
  const client = await RawClient.connect({ path: socket(image) });
  await client.go(`rbd/${image}`);
  let count = 0;
  for (let offset = 0; offset < next.length; offset += 4096) {
    const data = next.subarray(offset, offset + 4096);
    if (data.equals(old.subarray(offset, offset + 4096))) continue;
    expect(await client.ask(command.write, { offset, data })).toBe(0);
    count++;
  }
  expect(await client.ask(command.flush)).toBe(0);
  await client.disconnect();
  return count;
}

describe.skipIf(!requireTool('qemu-img'))('qemu:', { timeout: 120_000 }, () => {
  test('a qcow2 image goes in and comes back identical', async () => {
    writeFileSync(path('source.raw'), noise('qemu', 5 * mebibyte));
    truncateSync(path('source.raw'), 64 * mebibyte);
    await toolOk('qemu-img', ['convert', '-O', 'qcow2', path('source.raw'), path('source.qcow2')]);
    await served('qemu', '64M', async (uri) => {
      await toolOk('qemu-img', ['convert', '-n', '-O', 'raw', path('source.qcow2'), uri]);
      await toolOk('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', uri, path('back.qcow2')]);
    });
    expect(await toolOk('qemu-img', ['compare', path('source.qcow2'), path('back.qcow2')])).toContain('identical');
  });

  test('patterns of qemu-io are read back, also by the next server', async () => {
    const io = async (uri: string, ...commands: string[]): Promise<string> =>
      await toolOk('qemu-io', ['-f', 'raw', ...commands.flatMap((one) => ['-c', one]), uri]);
    const reads = [
      'read -P 0x11 0 60k',
      'read -P 0 60k 4k',
      'read -P 0 64k 64k',
      'read -P 0x33 130k 1k',
      'read -P 0x44 200k 3k',
    ];
    await served('patterns', '4M', async (uri) => {
      const told = await io(
        uri,
        'write -P 0x11 0 64k',
        'write -z 60k 4k',
        'write -P 0x22 64k 64k',
        'discard 64k 64k',
        'write -P 0x33 130k 1k',
        'aio_write -P 0x44 200k 3k',
        'aio_flush',
        'flush',
        ...reads,
      );
      expect(told).not.toMatch(/verification failed/);
    });
    const next = await serve('patterns');
    expect(await io(next.uri('rbd/patterns'), ...reads)).not.toMatch(/verification failed/);
    expect(await next.stop()).toMatchObject({ code: 0 });
  });
});

describe.skipIf(!requireTool('fio'))('fio:', { timeout: 120_000 }, () => {
  test('random writes, trims and flushes at once, verified', async () => {
    await served('fio', '48M', async (uri) => {
      const job = [
        '[global]',
        'ioengine=nbd',
        `uri=${uri}`,
        '[verified]',
        'rw=randwrite',
        'size=16m',
        'bsrange=512-64k',
        'iodepth=16',
        'verify=crc32c',
        'fsync=64',
        '[trimmed]',
        'rw=randtrimwrite',
        'offset=16m',
        'size=16m',
        'io_size=8m',
        'bs=4k',
        'iodepth=16',
        'fdatasync=32',
        '[mixed]',
        'rw=randrw',
        'offset=32m',
        'size=16m',
        'bs=8k',
        'iodepth=8',
        'verify=crc32c',
        'fsync=16',
        '',
      ];
      writeFileSync(path('job.fio'), job.join('\n'));
      await toolOk('fio', [`--aux-path=${path('')}`, path('job.fio')]);
    });
  });
});

describe.skipIf(!requireTool('mke2fs'))('ext4:', { timeout: 240_000 }, () => {
  test('a file system that is changed through NBD is whole at the replica, at every mirror snapshot', async () => {
    const [before, after] = [path('ext4.before'), path('ext4.after')];
    writeFileSync(path('first.txt'), 'first\n');
    writeFileSync(path('bulk.bin'), noise('bulk', mebibyte));
    writeFileSync(after, '');
    truncateSync(after, 32 * mebibyte);
    await toolOk('mke2fs', ['-q', '-t', 'ext4', '-F', after]);
    await served('ext4', '32M', async (uri) => {
      await a.farsideOk('mirror', 'image', 'enable', 'ext4', 'snapshot');
      await toolOk('nbdcopy', ['--flush', after, uri]);
      const changes = [
        'mkdir d',
        `write ${path('first.txt')} first.txt`,
        `write ${path('bulk.bin')} bulk.bin`,
        'rm bulk.bin',
      ];
      for (const change of changes) {
        copyFileSync(after, before);
        await toolOk('debugfs', ['-w', '-R', change, after]);
        expect(await writeChanges('ext4', before, after)).toBeGreaterThan(0);
        const replica = await atReplica('ext4');
        expect(await sha256OfFile(replica)).toBe(await sha256OfFile(after));
        expect(await runTool('e2fsck', ['-fn', replica])).toMatchObject({ code: 0 });
      }
    });
  });
});

describe.skipIf(!requireTool('mkfs.xfs') || !requireTool('xfs_repair'))('xfs:', { timeout: 240_000 }, () => {
  test('a file system that is written through NBD is whole at the replica', async () => {
    const file = path('xfs.raw');
    writeFileSync(path('proto'), `x\n0 0\nd--755 0 0\nhello ---644 0 0 ${path('xfs.txt')}\n$\n`);
    writeFileSync(path('xfs.txt'), noise('xfs', 300_000));
    writeFileSync(file, '');
    truncateSync(file, 304 * mebibyte);
    await toolOk('mkfs.xfs', ['-q', '-p', path('proto'), file]);
    await served('xfs', '304M', async (uri) => {
      await a.farsideOk('mirror', 'image', 'enable', 'xfs', 'snapshot');
      await toolOk('nbdcopy', ['--flush', file, uri]);
      const replica = await atReplica('xfs');
      expect(await sha256OfFile(replica)).toBe(await sha256OfFile(file));
      expect(await runTool('xfs_repair', ['-n', '-f', replica])).toMatchObject({ code: 0 });
    });
  });
});

const crashRounds = 4;
const crashSizeBytes = 4 * mebibyte;

/** Writes the pattern until the server is gone; tells what it was promised. */
class PatternClient {
  flushedSeq: number;
  sentSeq: number;
  readonly refusals: number[] = [];

  constructor(seq: number) {
    this.flushedSeq = seq;
    this.sentSeq = seq;
  }

  async run(seed: string): Promise<void> {
    const client = await RawClient.connect({ path: socket('crash') });
    await client.go('rbd/crash');
    try {
      for (;;) {
        for (let i = 0; i < 10; i++)
          await this.#send(client, requestOf(seed, this.sentSeq + 1, crashSizeBytes / sectorBytes));
        const upTo = this.sentSeq;
        if ((await client.ask(command.flush)) === 0) this.flushedSeq = upTo;
      }
    } catch {
      client.socket.destroy(); // killed, as planned
    }
  }

  async #send(client: RawClient, request: ReturnType<typeof requestOf>): Promise<void> {
    const offset = request.sector * sectorBytes;
    this.sentSeq = request.seq;
    const error =
      request.type === 'write'
        ? await client.ask(command.write, { offset, data: dataOf(request) })
        : await client.ask(command.writeZeroes, { offset, length: request.sectors * sectorBytes });
    if (error !== 0) this.refusals.push(error);
  }
}

describe('a server that is killed', { timeout: 240_000 }, () => {
  test('leaves exactly a prefix of what it was sent, with all that was flushed; and so is every point of the replica', async () => {
    await a.farsideOk('create', 'crash', '--size', '4M');
    await a.farsideOk('mirror', 'image', 'enable', 'crash', 'snapshot');
    let state = new Uint32Array(crashSizeBytes / sectorBytes);
    let seq = 0;
    for (let round = 0; round < crashRounds; round++) {
      const seed = `crash-${round}`;
      const server = await serve('crash');
      const client = new PatternClient(seq);
      const running = client.run(seed);
      await systemClock.sleep(100 + systemRandom.fraction() * 400);
      const flushedBefore = client.flushedSeq;
      await clientOf(a).createMirrorSnapshot(specOf('crash'));
      const sentAfter = client.sentSeq;
      await systemClock.sleep(systemRandom.fraction() * 300);
      await server.stop('SIGKILL');
      await running;
      expect(client.refusals).toEqual([]);
      const prefix = { seed, base: state, firstSeq: seq + 1 };
      await waitSynced('crash', { from: a, to: b });
      const replica = decode(await exported(b));
      prefixOf(replica, { ...prefix, minSeq: flushedBefore, maxSeq: sentAfter });
      const next = await serve('crash');
      await toolOk('nbdcopy', [next.uri('rbd/crash'), path('crash.read')]);
      expect(await next.stop()).toMatchObject({ code: 0 });
      const found = decode(readFileSync(path('crash.read')));
      const reached = prefixOf(found, { ...prefix, minSeq: client.flushedSeq, maxSeq: client.sentSeq });
      state = Uint32Array.from(state);
      for (let i = seq + 1; i <= reached; i++) apply(state, requestOf(seed, i, state.length));
      seq = reached;
    }
    expect(seq).toBeGreaterThan(crashRounds);
  });
});

async function exported(site: Site): Promise<Buffer> {
  const out = path('crash.replica');
  rmSync(out, { force: true });
  await site.farsideOk('export', 'crash', out);
  return readFileSync(out);
}
