// `bench`: what it says, what it changes, and where it puts its operations.

import { describe, expect, test } from 'vitest';
import { benchRow, benchSummary, offsets, type Bench } from '../../lib/cli/bench.ts';
import { content, eachWithSessions } from './sessions.ts';

const KiB = 1024;
const MiB = 1024 * KiB;

describe('offsets', () => {
  const take = (pattern: Bench['pattern'], threads: number, count: number, sizeBytes: number): number[] => {
    let drawn = 0;
    const fraction = (): number => (drawn += 0.31) % 1;
    const places = offsets({ pattern, threads, ioBytes: 4 * KiB }, sizeBytes, fraction);
    return Array.from({ length: count }, () => places.next().value as number);
  };

  test.each(['rand', 'seq', 'full-seq'] as const)(
    '%s: aligned to the size of an operation, and within the image',
    (pattern) => {
      for (const sizeBytes of [4 * KiB, 10 * KiB, 64 * KiB, MiB + 1]) {
        const places = take(pattern, 3, 200, sizeBytes);
        expect(places.every((at) => at % (4 * KiB) === 0 && at + 4 * KiB <= sizeBytes)).toBe(true);
      }
    },
  );

  test('threads of full-seq cover the image once before they begin again', () => {
    expect(take('full-seq', 4, 16, 64 * KiB).toSorted((a, b) => a - b)).toEqual(
      Array.from({ length: 16 }, (_, index) => index * 4 * KiB),
    );
  });

  test('a thread of seq goes on behind its last operation', () => {
    const [first, second, third] = take('seq', 1, 3, MiB);
    expect([second! - first!, third! - second!]).toEqual([4 * KiB, 4 * KiB]);
  });
});

test('numbers as rbd prints them', () => {
  const tally = { ops: 1024, bytes: 4 * MiB, seconds: 0.188 };
  const totals = { all: tally, reads: { ...tally, ops: 512 }, writes: { ...tally, ops: 512 } };
  const bench: Bench = {
    type: 'write',
    ioBytes: 4096,
    threads: 16,
    totalBytes: 4 * MiB,
    pattern: 'rand',
    readPercent: 50,
  };
  expect(benchSummary(bench, totals)).toBe('elapsed: 0   ops: 1024   ops/sec: 5446.81   bytes/sec: 21 MiB/s\n');
  expect(benchSummary({ ...bench, type: 'readwrite' }, totals).split('\n')).toHaveLength(4);
  expect(benchRow({ ops: 20_000, bytes: 80_000 * KiB, seconds: 3.2 })).toBe('    3     20000      6250    24 MiB/s');
});

describe('sessions', () => {
  const { current, farside, session } = eachWithSessions();

  const a = '--cluster site-a';
  const elapsed = /^elapsed: \d+   ops: (\d+)   ops\/sec: [\d.e+]+   bytes\/sec: [\d.]+ \w+\/s$/m;

  test('writes change the image and nothing beside the places they went to; reads do not', async () => {
    await session([[`${a} pool create rbd`]]);
    const before = content('one', 2 * MiB);
    await farside(`${a} import - vm-1`, before);
    const write = await farside(`${a} bench --io-type write --io-size 4K --io-total 256K --io-pattern rand vm-1`);
    expect([write.exitCode, write.stderr]).toEqual([0, '']);
    expect(write.stdout).toMatch(
      /^bench  type write io_size 4096 io_threads 16 bytes 262144 pattern random\n  SEC       OPS   OPS\/SEC   BYTES\/SEC\n/,
    );
    expect(elapsed.exec(write.stdout)?.[1]).toBe('64');
    const after = (await farside(`${a} export vm-1 -`)).bytes;
    const changed = Array.from({ length: 512 }, (_, block) => block * 4096).filter(
      (at) => !before.subarray(at, at + 4096).equals(after.subarray(at, at + 4096)),
    );
    expect(after.length).toBe(before.length);
    expect(changed.length).toBeGreaterThan(32);
    expect(changed.length).toBeLessThanOrEqual(64);
    await session([[`${a} snap create vm-1@s`]]);
    const read = await farside(`${a} bench --io-type read --io-size 64K --io-total 1M vm-1@s`);
    expect(read.stdout).toContain('pattern sequential\n');
    expect(elapsed.exec(read.stdout)?.[1]).toBe('16');
    const mixed = await farside(`${a} bench --io-type rw --io-size 1000 --io-total 100000 --io-threads 4 vm-1`);
    expect(mixed.stdout).toMatch(/type readwrite read:write=50:50 .*\n(.*\n)+read_ops: \d+ .*\nwrite_ops: \d+ /);
    expect((await farside(`${a} export vm-1 -`)).bytes.length).toBe(before.length);
  });

  test('more than one batch, and an operation larger than a batch', async () => {
    await session([[`${a} pool create rbd`], [`${a} create vm-1 --size 100M`]]);
    const run = await farside(
      `${a} bench --io-type write --io-size 100M --io-total 100M --io-pattern full-seq --io-threads 1 vm-1`,
    );
    expect(elapsed.exec(run.stdout)?.[1]).toBe('1');
    const { images } = JSON.parse((await farside(`${a} du vm-1 --format json`)).stdout);
    expect(images[0].used_size).toBe(100 * MiB);
  });

  test('what cannot be done, in the words of rbd', async () => {
    await session([
      [`${a} pool create rbd`],
      [`${a} create vm-1 --size 1M`],
      [`${a} bench vm-1`, 'farside: --io-type must be specified.\n', 22],
      [`${a} bench --io-type append vm-1`, "farside: the argument for option '--io-type' is invalid\n", 1],
      [`${a} bench --io-type write --io-size 0 vm-1`, 'farside: --io-size should be greater than zero.\n', 22],
      [
        `${a} bench --io-type write --io-threads 0 vm-1`,
        "farside: the argument ('0') for option '--io-threads' is invalid\n",
        1,
      ],
      [
        `${a} bench --io-type write --io-size 4M vm-1`,
        'farside: io-size 4 MiB larger than image size 1 MiB\nbench failed: (22) Invalid argument\n',
        22,
      ],
      [`${a} bench --io-type read vm-2`, 'farside: error opening image vm-2: (2) No such file or directory\n', 2],
      [`${a} bench --io-type write vm-1@s`, "farside: snapshot name specified for a command that doesn't use it\n", 22],
    ]);
  });

  test('a replica is read, not written', async () => {
    await current().pairSites();
    await farside(`${a} import - vm-1`, content('one', MiB));
    await farside(`${a} mirror image enable vm-1 snapshot`);
    await current().network.settle();
    await session([
      [
        '--cluster site-b bench --io-type write --io-total 64K vm-1',
        'bench  type write io_size 4096 io_threads 16 bytes 65536 pattern sequential\n  SEC       OPS   OPS/SEC   BYTES/SEC\nwrite error: (30) Read-only file system\nfarside: image vm-1 is non-primary: it is read-only until it is promoted: (30) Read-only file system\n',
        30,
      ],
    ]);
    expect((await farside('--cluster site-b bench --io-type read --io-total 64K vm-1')).stdout).toMatch(elapsed);
  });
});
