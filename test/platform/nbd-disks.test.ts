// Images as disks of real clients, against `nbd serve` on a mirrored site in plain Node: disk images of qemu, fio's verification,
// file systems that are checked at the replica, and a server that is killed again and again.

import { copyFileSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { systemRandom } from '../../lib/random.ts';
import { systemClock } from '../../lib/clock.ts';
import { apply, dataOf, decode, prefixOf, requestOf, sectorBytes, type Request } from '../attach/pattern.ts';
import { runTool, toolOk } from '../nbd/served.ts';
import { RawClient } from '../nbd/raw-client.ts';
import { requireTool } from '../require.ts';
import { ext4, makeContents, xfs } from './file-systems.ts';
import {
  clientOf,
  exportedSha256,
  noise,
  sha256,
  sha256OfFile,
  specOf,
  startPair,
  waitSynced,
  type Pair,
} from './mirror-pair.ts';
import { killServed, NbdProcess, type ServedSite } from './nbd-process.ts';
import { followedContent, replicaPoints, waitAtPoint, waitFollowed } from './replica-points.ts';
import { waitUntil, type Site } from './sites.ts';

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
  killServed();
  await pair?.stop();
  rmSync(directory, { recursive: true, force: true });
});

/** The home of the sites has a space in its name, which not every tool takes. */
const path = (name: string): string => join(directory, name);
const socket = (image: string): string => join(pair.home, `${image}.sock`);
const serve = (images: string[], name = images[0]!): Promise<NbdProcess> =>
  NbdProcess.start(a, { images, socket: socket(name) });

/** Serves a new image, mirrored by its journal, while `work` goes on, and ends as it should. */
async function served(image: string, size: string, work: (uri: string) => Promise<void>): Promise<void> {
  await a.farsideOk('create', image, '--size', size);
  await a.farsideOk('mirror', 'image', 'enable', image, 'journal');
  const server = await serve([image]);
  await work(server.uri(`rbd/${image}`));
  expect(await server.stop()).toMatchObject({ code: 0, stderr: '' });
}

/** The replica as it is, to clients that may only read. */
async function servedReplica(image: string, work: (uri: string) => Promise<void>): Promise<void> {
  const words = ['--read-only'];
  const server = await NbdProcess.start(b, { images: [image], socket: socket(`${image}-replica`), words });
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
async function writeChanges(
  socketPath: string,
  image: string,
  { before, after }: { before: string; after: string },
): Promise<void> {
  const [old, next] = [readFileSync(before), readFileSync(after)];
  const client = await RawClient.connect({ path: socketPath });
  await client.go(`rbd/${image}`);
  let count = 0;
  for (let offset = 0; offset < next.length; offset += 4096) {
    const data = next.subarray(offset, offset + 4096);
    if (data.equals(old.subarray(offset, offset + 4096))) continue;
    expect(await client.ask(command.write, { offset, data })).toBe(0);
    count++;
  }
  expect(count).toBeGreaterThan(0);
  expect(await client.ask(command.flush)).toBe(0);
  await client.disconnect();
}

const hasQemu = ['qemu-img', 'qemu-io', 'nbdcopy', 'nbdinfo'].map(requireTool).every(Boolean);

describe.skipIf(!hasQemu)('qemu:', { timeout: 120_000 }, () => {
  test('a qcow2 image goes in and comes back identical, from the replica too', async () => {
    writeFileSync(path('source.raw'), noise('qemu', 5 * mebibyte));
    truncateSync(path('source.raw'), 64 * mebibyte);
    await toolOk('qemu-img', ['convert', '-O', 'qcow2', path('source.raw'), path('source.qcow2')]);
    await served('qemu', '64M', async (uri) => {
      await toolOk('qemu-img', ['convert', '-n', '-O', 'raw', path('source.qcow2'), uri]);
      await toolOk('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', uri, path('back.qcow2')]);
      await waitFollowed('qemu', { from: a, to: b });
      await servedReplica('qemu', async (replica) => {
        await toolOk('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', replica, path('far.qcow2')]);
        await toolOk('nbdcopy', [replica, path('far.raw')]);
        expect(await runTool('nbdinfo', ['--is', 'read-only', replica])).toMatchObject({ code: 0 });
        expect((await runTool('qemu-io', ['-f', 'raw', '-c', 'write 0 4k', replica])).stderr).toMatch(
          /permission denied/i,
        );
      });
    });
    for (const name of ['back.qcow2', 'far.qcow2', 'far.raw'])
      expect(await toolOk('qemu-img', ['compare', path('source.qcow2'), path(name)]), name).toContain('identical');
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
    const next = await serve(['patterns']);
    expect(await io(next.uri('rbd/patterns'), ...reads)).not.toMatch(/verification failed/);
    expect(await next.stop()).toMatchObject({ code: 0 });
  });
});

describe.skipIf(!requireTool('fio'))('fio:', { timeout: 120_000 }, () => {
  test('random writes, trims and flushes at once, verified; and the replica is equal', async () => {
    await served('fio', '24M', async (uri) => {
      const job = [
        '[global]',
        'ioengine=nbd',
        `uri=${uri}`,
        '[verified]',
        'rw=randwrite',
        'size=8m',
        'bsrange=512-64k',
        'iodepth=16',
        'verify=crc32c',
        'fsync=64',
        '[trimmed]',
        'rw=randtrimwrite',
        'offset=8m',
        'size=8m',
        'io_size=4m',
        'bs=4k',
        'iodepth=16',
        'fdatasync=32',
        '[mixed]',
        'rw=randrw',
        'offset=16m',
        'size=8m',
        'bs=8k',
        'iodepth=8',
        'verify=crc32c',
        'fsync=16',
        '',
      ];
      writeFileSync(path('job.fio'), job.join('\n'));
      await toolOk('fio', [`--aux-path=${path('')}`, path('job.fio')]);
    });
    await waitAtPoint('fio', { from: a, to: b });
    expect(await exportedSha256(pair, b, 'fio')).toBe(await exportedSha256(pair, a, 'fio'));
  });
});

describe.each([ext4, xfs])(
  '$name:',
  { timeout: 240_000 },
  ({ name, sizeBytes, tools, steps, check: [checker, ...words] }) => {
    const isThere = tools.map(requireTool).every(Boolean);
    const [bySnapshot, byJournal] = [`${name}-snapshot`, `${name}-journal`];

    /** Whether a check finds a file system in the file, and nothing to say about it. */
    async function expectWhole(file: string): Promise<void> {
      expect(await runTool(checker, [...words, file])).toMatchObject({ code: 0 });
    }

    /** Does every step in a file and on both disks, each of which is flushed. Gives the hashes of the file. */
    async function writeSteps(server: NbdProcess): Promise<string[]> {
      const [before, after] = [path(`${name}.before`), path(`${name}.after`)];
      writeFileSync(after, '');
      truncateSync(after, sizeBytes);
      const hashes: string[] = [];
      for (const [count, step] of steps.entries()) {
        copyFileSync(after, before);
        await step(after, directory);
        hashes.push(await sha256OfFile(after));
        for (const image of [bySnapshot, byJournal]) {
          if (count === 0) await toolOk('nbdcopy', ['--flush', after, server.uri(`rbd/${image}`)]);
          else await writeChanges(socket(name), image, { before, after });
        }
        const replica = await atReplica(bySnapshot);
        expect(await sha256OfFile(replica)).toBe(hashes.at(-1));
        await expectWhole(replica);
      }
      return hashes;
    }

    test.skipIf(!isThere)(
      'what is done to it through NBD is whole at the replica, at every mirror snapshot and every flushed point of the journal',
      async () => {
        makeContents(directory);
        for (const image of [bySnapshot, byJournal])
          await a.farsideOk('create', image, '--size', `${sizeBytes / mebibyte}M`);
        const server = await serve([bySnapshot, byJournal], name);
        await a.farsideOk('mirror', 'image', 'enable', bySnapshot, 'snapshot');
        await a.farsideOk('mirror', 'image', 'enable', byJournal, 'journal');
        const hashes = await writeSteps(server);
        await waitFollowed(byJournal, { from: a, to: b });
        const found: string[] = [];
        for await (const point of replicaPoints(b, byJournal)) {
          const hash = sha256(point);
          if (hash !== hashes[found.length]) continue; // between two flushes, or before the first
          found.push(hash);
          writeFileSync(path('point'), point);
          await expectWhole(path('point'));
        }
        expect(found).toEqual(hashes);
        expect(await server.stop()).toMatchObject({ code: 0, stderr: '' });
      },
    );
  },
);

const crashRounds = 3;
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

  async #send(client: RawClient, request: Request): Promise<void> {
    this.sentSeq = request.seq;
    const error = await ask(client, request);
    if (error !== 0) this.refusals.push(error);
  }
}

const ask = (client: RawClient, request: Request): Promise<number> => {
  const offset = request.sector * sectorBytes;
  return request.type === 'write'
    ? client.ask(command.write, { offset, data: dataOf(request) })
    : client.ask(command.writeZeroes, { offset, length: request.sectors * sectorBytes });
};

/** Requests of the pattern, with a flush behind them. */
async function flushPattern(
  client: RawClient,
  seed: string,
  { from, to }: { from: number; to: number },
): Promise<void> {
  for (let seq = from; seq <= to; seq++)
    expect(await ask(client, requestOf(seed, seq, crashSizeBytes / sectorBytes))).toBe(0);
  expect(await client.ask(command.flush)).toBe(0);
}

describe('a server that is killed', { timeout: 240_000 }, () => {
  test('leaves exactly a prefix of what it was sent, with all that was flushed; and so is every point of the replica', async () => {
    await a.farsideOk('create', 'crash', '--size', '4M');
    await a.farsideOk('mirror', 'image', 'enable', 'crash', 'snapshot');
    let state = new Uint32Array(crashSizeBytes / sectorBytes);
    let seq = 0;
    for (let round = 0; round < crashRounds; round++) {
      const seed = `crash-${round}`;
      const server = await serve(['crash']);
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
      const replica = decode(await exported(b, 'crash'));
      prefixOf(replica, { ...prefix, minSeq: flushedBefore, maxSeq: sentAfter });
      const next = await serve(['crash']);
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

describe('a write-ahead log', { timeout: 120_000 }, () => {
  test('whose flushes never reached the bucket of a mirrored image does so when the image is attached again, and the replica has them', async () => {
    const over: ServedSite = { name: 'site-a-over-http', home: a.home, environment: a.environment };
    writeFileSync(path('token'), a.token, { mode: 0o600 });
    await a.farsideOk('site', 'add', '--name', over.name, '--url', a.url, '--token-file', path('token'));
    await a.farsideOk('create', 'logged', '--size', '4M');
    await a.farsideOk('mirror', 'image', 'enable', 'logged', 'journal');
    const words = ['--wal', path('wal')];
    const server = await NbdProcess.start(over, { images: ['logged'], socket: socket('logged'), words });
    const client = await RawClient.connect({ path: socket('logged') });
    await client.go('rbd/logged');
    const flushed = (from: number, to: number): Promise<void> => flushPattern(client, 'logged', { from, to });
    await flushed(1, 20);
    await waitFollowed('logged', { from: a, to: b });
    const state = new Uint32Array(crashSizeBytes / sectorBytes);
    const prefix = { seed: 'logged', base: state, firstSeq: 1, maxSeq: 40 };
    const atReplica = async (minSeq: number): Promise<number> =>
      prefixOf(decode(await followedContent(b, 'logged')), { ...prefix, minSeq });
    await waitUntil(
      async () => (await atReplica(0)) === 20,
      'the replica has what was flushed before the site died',
      60_000,
    );
    await a.kill();
    await flushed(21, 30);
    await flushed(31, 40);
    await server.stop('SIGKILL');
    await a.start();
    expect(await atReplica(20)).toBe(20);
    const next = await NbdProcess.start(over, { images: ['logged'], socket: socket('logged'), words });
    expect(next.stderr).toMatch(/rbd\/logged: \d+ segments of the write-ahead log are in the bucket/);
    expect(await next.stop()).toMatchObject({ code: 0 });
    await waitAtPoint('logged', { from: a, to: b });
    prefixOf(decode(await exported(b, 'logged')), { ...prefix, minSeq: 40 });
  });
});

async function exported(site: Site, image: string): Promise<Buffer> {
  const out = path(`${image}.replica`);
  rmSync(out, { force: true });
  await site.farsideOk('export', image, out);
  return readFileSync(out);
}
