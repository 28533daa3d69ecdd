// What real block clients see: disk images of qemu, file systems of e2fsprogs, pipes, terminals and kills, against sites in
// plain Node. Everything goes through the command line.

import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { sitePaths } from '../../infra/local/site-directory.ts';
import { keyText } from '../../lib/bucket/keys.ts';
import { findTool, requireTool } from '../require.ts';
import { findLoopDevices } from './loop-device.ts';
import {
  clientOf,
  exportedSha256,
  imageIdOf,
  importBytes,
  noise,
  packsOf,
  requestsOf,
  scratch,
  sha256,
  specOf,
  startPair,
  waitSynced,
  type Pair,
} from './mirror-pair.ts';
import { waitUntil, type Site } from './sites.ts';

const mebibyte = 2 ** 20;
const tebibyte = 2 ** 40;
const settings = { packBytes: 256 * 1024 };

let pair: Pair;
let a: Site;
let b: Site;
/** Site a as a site elsewhere: the data path goes over HTTP, and a's counters see it. */
const remote = 'site-a-over-http';

beforeAll(async () => {
  pair = await startPair({ platform: 'node', tickSeconds: 60, settings });
  ({ a, b } = pair);
  const token = scratch(pair, 'admin-token');
  writeFileSync(token, a.token, { mode: 0o600 });
  await a.farsideOk('site', 'add', '--name', remote, '--url', a.url, '--token-file', token);
});
afterAll(() => pair.stop());

const path = (name: string): string => scratch(pair, name);

type Ended = { code: number; stdout: string; stderr: string };

const environment = (): NodeJS.ProcessEnv => ({
  ...process.env,
  FARSIDE_HOME: pair.home,
  FARSIDE_TUNING: JSON.stringify({ settings }),
});

const main = join(import.meta.dirname, '../../lib/cli/main.ts');

/** A line of a shell in which `farside` speaks to a site. */
function shell(line: string, cluster: string = a.name): Promise<Ended> {
  const script = `farside() { "${process.execPath}" "${main}" --cluster ${cluster} "$@"; }\nset -o pipefail\n${line}`;
  return new Promise((resolve) => {
    execFile('bash', ['-c', script], { env: environment(), cwd: path('') }, (error, stdout, stderr) =>
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr }),
    );
  });
}

const tool = async (name: string, ...words: string[]): Promise<string> =>
  (await promisify(execFile)(findTool(name) ?? name, words)).stdout;

/** A gibibyte with little in it. */
function writeSparse(file: string): number {
  const parts = [
    { at: 0, bytes: noise('boot', mebibyte) },
    { at: 333 * mebibyte + 512, bytes: noise('middle', 2 * mebibyte) },
    { at: 1024 * mebibyte - 512, bytes: noise('end', 512) },
  ];
  const descriptor = openSync(file, 'w');
  ftruncateSync(descriptor, 1024 * mebibyte);
  for (const { at, bytes } of parts) writeSync(descriptor, bytes, 0, bytes.length, at);
  closeSync(descriptor);
  return parts.reduce((sum, { bytes }) => sum + bytes.length, 0);
}

describe.skipIf(!requireTool('qemu-img'))('qemu-img:', { timeout: 120_000 }, () => {
  let dataBytes: number;

  test('a qcow2 image comes back identical, from here and from the replica', async () => {
    dataBytes = writeSparse(path('disk.raw'));
    await tool('qemu-img', 'convert', '-O', 'qcow2', path('disk.raw'), path('disk.qcow2'));
    await tool('qemu-img', 'convert', '-O', 'raw', path('disk.qcow2'), path('converted.raw'));
    await a.farsideOk('import', path('converted.raw'), 'qemu');
    await a.farsideOk('mirror', 'image', 'enable', 'qemu', 'snapshot');
    await waitSynced('qemu', { from: a, to: b });
    await Promise.all([a.farsideOk('export', 'qemu', path('a.raw')), b.farsideOk('export', 'qemu', path('b.raw'))]);
    for (const name of ['a.raw', 'b.raw']) {
      const told = await tool('qemu-img', 'compare', '-f', 'qcow2', '-F', 'raw', path('disk.qcow2'), path(name));
      expect(told).toContain('Images are identical.');
    }
  });

  test('what is exported is as sparse as what was imported', async () => {
    expect(statSync(path('b.raw')).blocks * 512).toBeLessThan(dataBytes + mebibyte);
    const map = JSON.parse(await tool('qemu-img', 'map', '--output=json', '-f', 'raw', path('b.raw'))) as {
      length: number;
      data: boolean;
    }[];
    const mappedBytes = map.filter(({ data }) => data).reduce((sum, { length }) => sum + length, 0);
    expect(mappedBytes).toBeLessThan(dataBytes + mebibyte);
    expect(map.reduce((sum, { length }) => sum + length, 0)).toBe(1024 * mebibyte);
    const used = JSON.parse(await a.farsideOk('du', 'qemu', '--format', 'json')) as { images: { used_size: number }[] };
    expect(used.images[0]?.used_size).toBeLessThan(dataBytes + mebibyte);
  });
});

const hasE2fs = ['mke2fs', 'e2fsck', 'debugfs'].map(requireTool).every(Boolean);

describe.skipIf(!hasE2fs)('ext4:', { timeout: 120_000 }, () => {
  const points = ['one', 'two', 'three'];
  const fileOf = (point: string): Buffer => noise(point, 3 * mebibyte);

  test('the file system is whole at the replica, at every point that was mirrored', async () => {
    mkdirSync(path('files'), { recursive: true });
    writeFileSync(path('files/hello'), 'hello, far side\n');
    await tool('mke2fs', '-q', '-t', 'ext4', '-d', path('files'), path('ext4.img'), '64m');
    await a.farsideOk('import', path('ext4.img'), 'ext4');
    await a.farsideOk('mirror', 'image', 'enable', 'ext4', 'snapshot');
    for (const point of points) {
      writeFileSync(path('added'), fileOf(point));
      await tool('debugfs', '-w', '-R', `write "${path('added')}" ${point}`, path('ext4.img'));
      await a.farsideOk('import', '--update', path('ext4.img'), 'ext4');
      await clientOf(a).createSnapshot(specOf('ext4'), point);
      await a.farsideOk('mirror', 'image', 'snapshot', 'ext4');
      await waitSynced('ext4', { from: a, to: b });
      await checkFileSystem('ext4', points.slice(0, points.indexOf(point) + 1));
    }
  });

  test('earlier points stay readable there', async () => {
    for (const [index, point] of points.entries()) await checkFileSystem(`ext4@${point}`, points.slice(0, index + 1));
  });

  async function checkFileSystem(source: string, files: readonly string[]): Promise<void> {
    const image = path('replica.ext4');
    rmSync(image, { force: true });
    await b.farsideOk('export', source, image);
    expect(await tool('e2fsck', '-fn', image)).toContain('Pass 5: Checking group summary information');
    for (const file of files) {
      await tool('debugfs', '-R', `dump ${file} "${path('dumped')}"`, image);
      expect(sha256(readFileSync(path('dumped')))).toBe(sha256(fileOf(file)));
    }
  }
});

describe('pipes:', { timeout: 120_000 }, () => {
  const bytes = noise('piped', 9 * mebibyte + 12_345);

  test('standard input is imported and standard output exported, without a word', async () => {
    writeFileSync(path('piped.in'), bytes);
    expect(await shell('cat piped.in | farside import - piped')).toEqual({ code: 0, stdout: '', stderr: '' });
    const exported = await shell('farside export piped - | sha256sum');
    expect(exported).toEqual({ code: 0, stdout: `${sha256(bytes)}  -\n`, stderr: '' });
  });

  test('over HTTP the same', async () => {
    const copied = await shell('farside export piped - | farside import - copied', remote);
    expect(copied).toEqual({ code: 0, stdout: '', stderr: '' });
    expect(await exportedSha256(pair, a, 'copied')).toBe(sha256(bytes));
  });

  test('a reader that has enough ends the export quietly', async () => {
    await a.farsideOk('create', 'endless', '--size', '16T');
    const cut = await shell('(farside export endless - || true) | head -c 1000000 | wc -c');
    expect(cut).toEqual({ code: 0, stdout: '1000000\n', stderr: '' });
  });
});

const loop = findLoopDevices();

describe.skipIf(!loop)('a block device', { timeout: 120_000 }, () => {
  test('is imported whole, though its size stands in no inode', async () => {
    const bytes = noise('device', 6 * mebibyte);
    writeFileSync(path('device.img'), bytes);
    const device = loop!.attach(path('device.img'));
    try {
      await a.farsideOk('import', device, 'device');
    } finally {
      loop!.detach(device);
    }
    expect(await exportedSha256(pair, a, 'device')).toBe(sha256(bytes));
  });
});

describe('an import that is killed', { timeout: 120_000 }, () => {
  const bytes = noise('killed', 24 * mebibyte);

  test('has made nothing visible; run again, it finishes, and uploads only what is missing', async () => {
    writeFileSync(path('killed.in'), bytes);
    const before = await requestsOf(a);
    await importHalfAndKill();
    expect((await a.farside('info', 'killed')).code).toBe(2);
    const halfway = await requestsOf(a);
    const sentBytes = halfway.bytesOut - before.bytesOut;
    expect(sentBytes).toBeGreaterThan(8 * mebibyte);
    expect(await shell('farside import killed.in killed', remote)).toEqual({ code: 0, stdout: '', stderr: '' });
    const after = await requestsOf(a);
    const packs = await packsOf(a, await imageIdOf(a, 'killed'));
    expect(after.bytesOut - before.bytesOut).toBeLessThan(packs.bytes + mebibyte);
    expect(after.bytesOut - halfway.bytesOut).toBeLessThan(packs.bytes - 8 * mebibyte);
    expect(after.A - before.A).toBeLessThan(packs.count + 20);
    expect(await exportedSha256(pair, a, 'killed')).toBe(sha256(bytes));
  });

  /** Half is given; the rest never comes. */
  async function importHalfAndKill(): Promise<void> {
    const words = [main, '--cluster', remote, 'import', '-', 'killed'];
    const child = spawn(process.execPath, words, { env: environment(), stdio: ['pipe', 'ignore', 'inherit'] });
    const first = (await requestsOf(a)).bytesOut;
    child.stdin.on('error', () => {});
    child.stdin.write(bytes.subarray(0, 12 * mebibyte));
    await waitUntil(async () => (await requestsOf(a)).bytesOut - first > 9 * mebibyte, 'much of it is uploaded');
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
});

describe('refusals:', { timeout: 120_000 }, () => {
  const bytes = noise('refused', 3 * mebibyte);

  beforeAll(() => importBytes(pair, a, 'refused', bytes));

  test('importing onto a name that is taken: 17, and the image is as it was', async () => {
    const refused = await a.farside('import', path('refused.in'), 'refused');
    expect(refused).toMatchObject({ code: 17, stdout: '' });
    expect(refused.stderr).toMatch(/^farside: import failed: \(17\) File exists\n/);
  });

  test('updating a non-primary image: 30, and what to do about it', async () => {
    await a.farsideOk('mirror', 'image', 'enable', 'refused', 'snapshot');
    await waitSynced('refused', { from: a, to: b });
    const refused = await b.farside('import', '--update', path('refused.in'), 'refused');
    expect(refused).toMatchObject({ code: 30, stdout: '' });
    expect(refused.stderr).toMatch(/\(30\) Read-only file system\n.*promoted\n$/);
  });

  test('exporting onto a file: 17, and the file is as it was', async () => {
    writeFileSync(path('mine'), 'mine');
    const refused = await a.farside('export', 'refused', path('mine'));
    expect(refused).toMatchObject({ code: 17, stdout: '' });
    expect(readFileSync(path('mine'), 'utf8')).toBe('mine');
  });

  test('a flipped bit in the bucket: 74, with image, offset and pack, and no file that looks whole', async () => {
    const packsFolder = join(
      sitePaths(a.directory).bucket,
      'objects',
      dirname(keyText({ kind: 'pack', imageId: await imageIdOf(a, 'refused'), packId: '0'.repeat(32) })),
    );
    const packFile = readdirSync(packsFolder).find((name) => statSync(join(packsFolder, name)).size > 200_000)!;
    const content = readFileSync(join(packsFolder, packFile));
    content[content.length - 10_000]! ^= 1;
    writeFileSync(join(packsFolder, packFile), content);
    const refused = await a.farside('export', 'refused', path('damaged.out'));
    expect(refused).toMatchObject({ code: 74, stdout: '' });
    const packId = packFile.replace('@', '');
    expect(refused.stderr).toMatch(new RegExp(`^farside: .*rbd/refused.* offset \\d+.*${packId}`));
    expect(() => statSync(path('damaged.out'))).toThrow('ENOENT');
  });
});

describe.skipIf(!requireTool('script'))('the progress bar', { timeout: 120_000 }, () => {
  const onTerminal = (line: string): Promise<Ended> =>
    shell(`export -f farside; SHELL=/bin/bash script -qec '${line}' /dev/null`);

  beforeAll(() => writeFileSync(path('bar.in'), noise('bar', 12 * mebibyte)));

  test('shows bytes, rate and time left on a terminal', async () => {
    const { code, stdout } = await onTerminal('farside import bar.in bar');
    expect(code).toBe(0);
    expect(stdout).toMatch(/Importing image: [=-]+ \d+% [\d.]+ MiB of 12 MiB [\d.]+ [KM]iB\/s ETA \d+s/);
    expect(stdout).toContain('100% 12 MiB of 12 MiB');
    expect((await onTerminal('farside export bar bar.out')).stdout).toContain('100% 12 MiB of 12 MiB');
  });

  test('is not drawn on a pipe, nor with --no-progress', async () => {
    expect(await shell('farside import bar.in bar-2')).toEqual({ code: 0, stdout: '', stderr: '' });
    expect(await onTerminal('farside --no-progress import bar.in bar-3')).toEqual({ code: 0, stdout: '', stderr: '' });
  });
});

describe('a sparse image of 16 TiB', { timeout: 120_000 }, () => {
  test('is created, snapshot, mirrored and measured by a handful of requests', async () => {
    const bytes = noise('huge', mebibyte);
    await importBytes(pair, a, 'huge', bytes);
    const before = { a: await requestsOf(a), b: await requestsOf(b) };
    await a.farsideOk('resize', 'huge', '--size', '16T');
    await a.farsideOk('snap', 'create', 'huge@grown');
    await a.farsideOk('mirror', 'image', 'enable', 'huge', 'snapshot');
    await waitSynced('huge', { from: a, to: b });
    const after = { a: await requestsOf(a), b: await requestsOf(b) };
    expect(after.a.A - before.a.A).toBeLessThanOrEqual(12);
    expect(after.a.B - before.a.B).toBeLessThanOrEqual(40);
    // Reads are those of looking whether it is there, too.
    expect(after.b.A - before.b.A).toBeLessThanOrEqual(16);
    expect(after.b.bytesOut - before.b.bytesOut).toBeLessThan(1.1 * mebibyte);
  });

  test('is read and measured at the replica without reading its holes', async () => {
    const used = await b.farsideOk('du', 'huge', '--format', 'json');
    expect(JSON.parse(used)).toMatchObject({
      images: [
        { snapshot: 'grown', provisioned_size: 16 * tebibyte, used_size: mebibyte },
        { provisioned_size: 16 * tebibyte, used_size: 0 },
      ],
    });
    const begin = await shell('(farside export huge - || true) | head -c 1048576 | sha256sum', b.name);
    expect(begin.stdout).toBe(`${sha256(noise('huge', mebibyte))}  -\n`);
  });
});
