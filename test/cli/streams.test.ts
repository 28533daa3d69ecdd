// The diff streams and exports of a real rbd, through the command line: in, and out again. Exit codes are those measured of rbd
// (reference/rbd-measured.md), where it says.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openHeader } from '../../lib/image/access.ts';
import type { ImageSpec } from '../../lib/image/deps.ts';
import type { Header } from '../../lib/image/header.ts';
import { createImage } from '../../lib/image/images.ts';
import { createSnapshot, protectSnapshot, rollbackSnapshot } from '../../lib/image/snapshots.ts';
import {
  applied,
  decodeContainer,
  decodeDiff,
  manifest,
  recorded,
  recordsOf,
  sha256,
  type FlatRecord,
} from '../stream/recorded.ts';
import { localSite, type CliResult, type LocalSite } from './local-site.ts';

let site: LocalSite;
beforeEach(async () => {
  site = await localSite();
});
afterEach(() => site.remove());

const cli: LocalSite['cli'] = (words, options) => site.cli(words, options);
const spec = (image: string): ImageSpec => ({ pool: 'rbd', namespace: '', image });
const create = (image: string, features?: string[]) =>
  createImage(site.deps(), spec(image), { sizeBytes: 1024 * 1024, features });
const header = async (image: string): Promise<Header> => (await openHeader(site.deps(), spec(image))).value;
const ok = { exitCode: 0, stderr: '' };
const silent = { ...ok, stdout: Buffer.alloc(0) };
const importDiff = (file: string, image = 'vm'): Promise<CliResult> =>
  cli(['import-diff', '-', image], { stdin: recorded(file) });
const chain = ['full-s1.diff', 's1-s2.diff', 's2-s3.diff', 's3-s4.diff'] as const;

/** An image with the cluster's snapshots s1 to s4. */
async function importChain(files: readonly string[] = chain): Promise<void> {
  await create('vm');
  for (const file of files) expect(await importDiff(file)).toEqual(silent);
}

async function contentOf(image: string): Promise<{ size: number; sha256: string }> {
  const { stdout } = await cli(['export', image, '-']);
  return { size: stdout.length, sha256: sha256(stdout) };
}

const endOf = (file: string): string => (recordsOf(file).find(([tag]) => tag === 't') as FlatRecord)[1] as string;

describe('import-diff', () => {
  test.each([
    [chain],
    [['full-s1.diff', 's1-s2-wo.diff']],
    [['full-s1.diff', 's1-s3.diff']],
    [['full-s1.diff', 'merge_s1-s2_s2-s3.diff']],
    [['full-s3.diff', 's3-s4.diff']],
  ])('%s: every snapshot is what it was at the cluster', async (files) => {
    await importChain(files);
    for (const snap of files.map(endOf))
      expect([snap, await contentOf(`vm@${snap}`)]).toEqual([snap, manifest.snapshots[snap]]);
    expect(await contentOf('vm')).toEqual(manifest.snapshots[endOf(files.at(-1)!)]);
  });

  test('a file is taken as well as stdin, and what follows the end is not looked at', async () => {
    await create('vm');
    const path = join(site.root, 'diff');
    await writeFile(path, Buffer.concat([recorded('full-s1.diff'), Buffer.from('trailing')]));
    expect(await cli(['import-diff', path, 'vm'])).toEqual(silent);
    expect(await contentOf('vm@s1')).toEqual(manifest.snapshots['s1']);
  });

  test('the diff goes over what the image holds; a head that has changed since its start is said', async () => {
    await importChain(['full-s1.diff', 's1-s2.diff']);
    await rollbackSnapshot(site.deps(), spec('vm'), 's1');
    const { exitCode, stderr } = await importDiff('s2-s3.diff');
    expect([exitCode, stderr]).toEqual([
      0,
      "note: the image had changed since snapshot 's2', which the diff starts from: what the diff does not touch stays as it was\n",
    ]);
  });

  const broken = (file: string, change: (stream: Buffer) => Uint8Array): Uint8Array =>
    change(Buffer.from(recorded(file)));
  test.each<[what: string, stream: Uint8Array, exitCode: number, reason: string]>([
    [
      'a start that is not there',
      recorded('s2-s3.diff'),
      22,
      "start snapshot 's2' does not exist in the image, aborting",
    ],
    ['an end that is there', recorded('full-s1.diff'), 17, "end snapshot 's1' already exists, aborting"],
    [
      'cut off',
      broken('s1-s2.diff', (all) => all.subarray(0, 5_000_000)),
      74,
      'the stream ends too early, after 5000000 bytes',
    ],
    [
      'without its end',
      broken('s1-s2.diff', (all) => all.subarray(0, -1)),
      74,
      'the stream ends too early, after 8784150 bytes',
    ],
    ['empty', Buffer.alloc(0), 74, 'the stream ends too early, after 0 bytes'],
    ['no diff', Buffer.from('rbd image v2\n'), 22, 'invalid or unexpected banner: .*'],
    [
      'an unknown tag',
      broken('s1-s2.diff', (all) => Buffer.concat([all.subarray(0, -1), Buffer.from('x')])),
      74,
      'damaged stream: unrecognized tag byte 120 \\(at byte 8784151\\)',
    ],
    [
      'a header record behind data',
      broken('s1-s2.diff', (all) => Buffer.concat([all.subarray(0, -1), all.subarray(12)])),
      74,
      'damaged stream: a header record stands behind data .*',
    ],
    [
      'data beyond the end',
      broken('s1-s2.diff', (all) => (all.writeBigUInt64LE(4096n, 27), all)),
      22,
      'the stream has data up to byte 21102592 of an image of 4096 bytes',
    ],
    [
      'a size beyond every image',
      broken('s1-s2.diff', (all) => (all.writeBigUInt64LE(2n ** 52n + 1n, 27), all)),
      27,
      'image size 4503599627370497 is above the largest, 4 PiB',
    ],
  ])('%s: refused, and the image is as it was', async (_, stream, exitCode, reason) => {
    await importChain(['full-s1.diff']);
    const before = await openHeader(site.deps(), spec('vm'));
    const result = await cli(['import-diff', '-', 'vm'], { stdin: stream });
    expect(result.exitCode).toBe(exitCode);
    expect(result.stderr).toMatch(new RegExp(`^farside: import-diff failed: \\(${exitCode}\\) [^\n]+\n${reason}\n$`));
    expect(await openHeader(site.deps(), spec('vm'))).toEqual(before);
  });

  test('a stream that failed in the middle is no hindrance to the next', async () => {
    await importChain(['full-s1.diff']);
    const stdin = recorded('s1-s2.diff').subarray(0, -1);
    for (const tries of [1, 2])
      expect([tries, (await cli(['import-diff', '-', 'vm'], { stdin })).exitCode]).toEqual([tries, 74]);
    expect(await contentOf('vm')).toEqual(manifest.snapshots['s1']);
    expect(await importDiff('s1-s2.diff')).toEqual(silent);
    expect(await contentOf('vm')).toEqual(manifest.snapshots['s2']);
  });

  test('a non-primary image, and what is not there', async () => {
    await create('replica', ['layering', 'non-primary']);
    const refused = await importDiff('full-s1.diff', 'replica');
    expect([refused.exitCode, refused.stderr.split('\n')[0]]).toEqual([
      30,
      'farside: import-diff failed: (30) Read-only file system',
    ]);
    expect(await importDiff('full-s1.diff', 'nobody')).toMatchObject({
      exitCode: 2,
      stderr: 'farside: error opening image nobody: (2) No such file or directory\n',
    });
    expect(await cli(['import-diff', join(site.root, 'nothing'), 'replica'])).toMatchObject({ exitCode: 2 });
    expect(await cli(['import-diff', '-', 'vm@s1'])).toMatchObject({ exitCode: 22 });
  });

  test('a process whose stream fails ends, also when its pipe stays open', async () => {
    await create('vm');
    const main = join(import.meta.dirname, '../../lib/cli/main.ts');
    const env = { ...process.env, FARSIDE_HOME: join(site.root, 'home') };
    const child = spawn(process.execPath, [main, 'import-diff', '-', 'vm'], {
      env,
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    child.stdin.write('no diff stream at all');
    expect(await once(child, 'exit')).toEqual([22, null]);
  });
});

describe('export-diff', () => {
  const exported = async (...words: string[]): Promise<Buffer> => {
    const { exitCode, stderr, stdout } = await cli(['export-diff', ...words, '-']);
    expect({ exitCode, stderr }).toEqual(ok);
    return stdout;
  };
  const ranges = (records: readonly (FlatRecord | FlatRecord[])[]): [start: number, end: number][] =>
    (records as FlatRecord[]).flatMap(([tag, offset, length]) =>
      tag === 'w' || tag === 'z' ? [[Number(offset), Number(offset) + Number(length)] as const] : [],
    ) as [number, number][];

  test('--whole-object gives byte for byte what rbd gives', async () => {
    await importChain();
    const stream = await exported('--whole-object', '--from-snap', 's1', 'vm@s2');
    expect(stream.equals(recorded('s1-s2-wo.diff'))).toBe(true);
  });

  test('replays to the content of every snapshot; says nothing changed that rbd does not, beyond whole sectors', async () => {
    await importChain();
    let content: Buffer = Buffer.alloc(0);
    for (const file of chain) {
      const [from, to] = [file.startsWith('full') ? [] : ['--from-snap', file.slice(0, 2)], endOf(file)];
      const { records, bytes } = decodeDiff(await exported(...from, `vm@${to}`));
      const theirs = recordsOf(file) as FlatRecord[];
      const isHead = ([tag]: FlatRecord): boolean => 'fts'.includes(String(tag));
      expect(records.map(({ record }) => record).filter(isHead)).toEqual(theirs.filter(isHead));
      content = applied(content, records);
      expect([to, { size: content.length, sha256: sha256(content) }, bytes > 0]).toEqual([
        to,
        manifest.snapshots[to],
        true,
      ]);
      const allowed = ranges(theirs).map(([start, end]) => [start, Math.ceil(end / 512) * 512] as const);
      const ours = ranges(records.map(({ record }) => record));
      expect(ours.filter(([start, end]) => !allowed.some(([from, to]) => from <= start && end <= to))).toEqual([]);
      expect(ours).toEqual(ours.toSorted(([a], [b]) => a - b));
    }
  });

  test('zeros go as such, also those that are stored', async () => {
    await create('vm');
    const sizeBytes = 4_194_304 + 1000;
    const content = Buffer.alloc(sizeBytes);
    content.fill('abc', 100_000, 300_000);
    content.fill('x', 4_194_304);
    await cli(['import', '--update', '-', 'vm'], { stdin: content });
    await createSnapshot(site.deps(), spec('vm'), 'one');
    content.fill(0, 150_000, 250_000);
    await cli(['import', '--update', '-', 'vm'], { stdin: content });
    const { records } = decodeDiff(await exported('--from-snap', 'one', 'vm'));
    expect(records.some(({ record }) => record[0] === 'z')).toBe(true);
    const before = (await cli(['export', 'vm@one', '-'])).stdout;
    expect(applied(before, records).equals(content)).toBe(true);
    const full = decodeDiff(await exported('vm')).records;
    expect(applied(Buffer.alloc(0), full).equals(content)).toBe(true);
    expect(full.map(({ record }) => record[0])).toEqual(['s', 'w', 'w', 'w', 'e']);
  });

  test('a shrunk image: only its size tells, as with rbd', async () => {
    await importChain(['full-s1.diff']);
    const stdin = (await cli(['export', 'vm', '-'])).stdout.subarray(0, 5_000_000);
    await cli(['import', '--update', '-', 'vm'], { stdin });
    const { records } = decodeDiff(await exported('--from-snap', 's1', 'vm'));
    expect(records.slice(0, 2).map(({ record }) => record)).toEqual([
      ['f', 's1'],
      ['s', 5_000_000],
    ]);
    expect(applied(Buffer.alloc(67_108_864), records)).toHaveLength(5_000_000);
    expect(
      await cli(['import-diff', '-', 'vm'], { stdin: await exported('--from-snap', 's1', 'vm@s1') }),
    ).toMatchObject({
      exitCode: 17,
    });
  });

  test('snapshots that are not there, or the wrong way round: nothing is written', async () => {
    await importChain(['full-s1.diff', 's1-s2.diff']);
    const path = join(site.root, 'out.diff');
    expect(await cli(['export-diff', '--from-snap', 'never', 'vm@s2', path])).toMatchObject({
      exitCode: 2,
      stderr: 'farside: export-diff error: (2) No such file or directory\nsnapshot never of image vm does not exist\n',
    });
    expect(await cli(['export-diff', 'vm@never', path])).toMatchObject({
      exitCode: 2,
      stderr: 'error setting snapshot context: (2) No such file or directory\n',
    });
    expect(await cli(['export-diff', '--from-snap', 's2', 'vm@s1', path])).toMatchObject({ exitCode: 22 });
    await expect(stat(path)).rejects.toMatchObject({ code: 'ENOENT' });
    await writeFile(path, 'mine');
    const { exitCode, stderr } = await cli(['export-diff', 'vm@s1', path]);
    expect([exitCode, stderr.split('\n')[0]]).toEqual([17, 'farside: export-diff error: (17) File exists']);
    expect(await readFile(path, 'utf8')).toBe('mine');
  });

  test('progress, and none with --no-progress', async () => {
    await importChain(['full-s1.diff']);
    const path = join(site.root, 'out.diff');
    const bar = await cli(['export-diff', 'vm@s1', path], { isTTY: true });
    expect(bar.stderr).toMatch(/Exporting image: .*100% 64 MiB of 64 MiB/);
    await create('other');
    const imported = await cli(['import-diff', path, 'other'], { isTTY: true });
    expect(imported.stderr).toMatch(/Importing image diff: .*100%/);
    expect((await cli(['export-diff', 'vm@s1', `${path}2`, '--no-progress'], { isTTY: true })).stderr).toBe('');
  });
});

test('piped from one process to another', async () => {
  await importChain(['full-s1.diff']);
  await create('copy');
  const farside = `'${process.execPath}' '${join(import.meta.dirname, '../../lib/cli/main.ts')}'`;
  const line = `${farside} export-diff vm@s1 - | ${farside} import-diff - copy`;
  const env = { ...process.env, FARSIDE_HOME: join(site.root, 'home') };
  const child = spawn('bash', ['-o', 'pipefail', '-c', line], { env, stdio: 'inherit' });
  expect(await once(child, 'exit')).toEqual([0, null]);
  expect(await contentOf('copy@s1')).toEqual(manifest.snapshots['s1']);
});

test('diff: the extents that differ, as rbd lists them', async () => {
  await importChain();
  expect((await cli(['diff', '--from-snap', 's2', 'vm@s3'])).stdout.toString()).toBe(
    'Offset    Length  Type\n' +
      '21037056  65536   zero\n' +
      '25165824  4096    zero\n' +
      '41943040  4096    zero\n' +
      '41951232  4096    zero\n' +
      '42991616  4096    zero\n' +
      '46133248  4096    zero\n' +
      '54525952  512     data\n',
  );
  const json = await cli(['diff', '--whole-object', '--from-snap', 's3', 'vm@s4', '--format', 'json']);
  expect(JSON.parse(json.stdout.toString())).toEqual([
    { offset: 41_943_040, length: 4_194_304, exists: 'true' },
    { offset: 67_108_864, length: 4_194_304, exists: 'true' },
    { offset: 96_468_992, length: 4_194_304, exists: 'true' },
  ]);
  const xml = await cli(['diff', '--whole-object', '--from-snap', 's1', 'vm@s2', '--format', 'xml']);
  expect(xml.stdout.toString()).toMatch(
    /^<extents><extent><offset>20971520<\/offset><length>4194304<\/length><exists>true<\/exists><\/extent>/,
  );
  expect((await cli(['diff', '--from-snap', 's4', 'vm'])).stdout.toString()).toBe('');
  expect((await cli(['diff', '--from-snap', 's4', 'vm', '--format', 'json'])).stdout.toString()).toBe('[]\n');
  expect(await cli(['diff', '--from-snap', 'never', 'vm'])).toMatchObject({
    exitCode: 2,
    stderr: expect.stringMatching(/^farside: diff error: \(2\) No such file or directory\n/) as string,
  });
});

describe('merge-diff', () => {
  test('files, stdin and stdout; needs no site', async () => {
    const path = (name: string): string => join(site.root, name);
    for (const file of ['s1-s2.diff', 's2-s3.diff']) await writeFile(path(file), recorded(file));
    const merged = recorded('merge_s1-s2_s2-s3.diff');
    const env = { FARSIDE_CLUSTER: 'nowhere' };
    expect(await cli(['merge-diff', path('s1-s2.diff'), path('s2-s3.diff'), path('out')], { env })).toEqual(silent);
    expect((await readFile(path('out'))).equals(merged)).toBe(true);
    const piped = await cli(['merge-diff', '-', path('s2-s3.diff'), '-'], { stdin: recorded('s1-s2.diff') });
    expect(piped.stdout.equals(merged)).toBe(true);
    expect(await cli(['merge-diff', path('s1-s2.diff'), path('s2-s3.diff'), path('out')])).toMatchObject({
      exitCode: 17,
    });
    expect(await cli(['merge-diff', path('s2-s3.diff'), path('s1-s2.diff'), path('new')])).toMatchObject({
      exitCode: 22,
      stderr:
        'farside: merge-diff error\nThe first TO snapshot must be equal with the second FROM snapshot, aborting\n' +
        "the first diff ends at snapshot 's3', the second begins at snapshot 's1'\n",
    });
    await writeFile(path('empty'), '');
    expect(await cli(['merge-diff', path('s1-s2.diff'), path('empty'), path('new')])).toMatchObject({ exitCode: 33 });
    await writeFile(path('cut'), recorded('s2-s3.diff').subarray(0, -1));
    expect(await cli(['merge-diff', path('s1-s2.diff'), path('cut'), path('new')])).toMatchObject({ exitCode: 33 });
    await expect(stat(path('new'))).rejects.toMatchObject({ code: 'ENOENT' });
    expect(await cli(['merge-diff', path('s1-s2.diff'), '-', '-'])).toMatchObject({ exitCode: 22 });
  });
});

describe('export format 2', () => {
  const v2 = recorded('v2-s3.exp');

  test('an image of a cluster comes with all its snapshots, and goes out as it came', async () => {
    expect(await cli(['import', '--export-format', '2', '-', 'vm'], { stdin: v2 })).toEqual(silent);
    const made = await header('vm');
    expect(made).toMatchObject({ objectBytes: 4_194_304, sizeBytes: 67_108_864, meta: {} });
    expect(made.snapshots.map(({ id, name }) => [id, name])).toEqual([1, 2, 3, 4, 5, 6, 7].map((id) => [id, `s${id}`]));
    for (const [snap, expected] of Object.entries(manifest.snapshots))
      expect([snap, await contentOf(`vm@${snap}`)]).toEqual([snap, expected]);

    const { stdout } = await cli(['export', '--export-format', '2', 'vm@s3', '-']);
    const [ours, theirs] = [decodeContainer(stdout), decodeContainer(v2)];
    expect(ours.header.equals(theirs.header)).toBe(true);
    expect(ours.diffs).toHaveLength(theirs.diffs.length);
    let our: Buffer = Buffer.alloc(0);
    let their: Buffer = Buffer.alloc(0);
    for (const [index, diff] of ours.diffs.entries()) {
      our = applied(our, diff);
      their = applied(their, theirs.diffs[index]!);
      expect([index, our.equals(their)]).toEqual([index, true]);
      // rbd's `p` declares 8 and carries 1: ours declares what it carries.
      const heads = (records: typeof diff): FlatRecord[] =>
        records
          .map(({ record }) => (record[0] === 'p' ? ['p', 1, record[2]!] : record))
          .filter(([tag]) => 'ftps'.includes(String(tag)));
      expect(heads(diff)).toEqual(heads(theirs.diffs[index]!));
    }
  });

  test('metadata, protection, object size and features travel too', async () => {
    const deps = site.deps();
    await createImage(deps, spec('vm'), {
      sizeBytes: 100_000,
      objectBytes: 65_536,
      features: ['layering', 'deep-flatten'],
      // What means nothing here may mean something where the image goes next.
      initial: { meta: { owner: 'Grüße', conf_rbd_cache: 'false' } },
    });
    for (const snap of ['one', 'two']) {
      await cli(['import', '--update', '-', 'vm'], { stdin: Buffer.alloc(90_000 + snap.length, snap) });
      await createSnapshot(deps, spec('vm'), snap);
    }
    await protectSnapshot(deps, spec('vm'), 'two');
    const path = join(site.root, 'vm.exp');
    expect(await cli(['export', '--export-format', '2', 'vm', path])).toEqual(silent);
    expect(await cli(['import', '--export-format', '2', path, 'copy'])).toEqual(silent);
    const [from, to] = [await header('vm'), await header('copy')];
    const travels = ({ objectBytes, features, meta, sizeBytes, snapshots }: Header): object => ({
      objectBytes,
      features,
      meta,
      sizeBytes,
      snapshots: snapshots.map(({ name, protected: isProtected, sizeBytes }) => ({ name, isProtected, sizeBytes })),
    });
    expect(travels(to)).toEqual(travels(from));
    for (const point of ['', '@one', '@two'])
      expect(await contentOf(`copy${point}`)).toEqual(await contentOf(`vm${point}`));
    expect(await cli(['import', '--export-format', '2', '--object-size', '4K', path, 'small'])).toEqual(silent);
    expect((await header('small')).objectBytes).toBe(4096);
    expect(await contentOf('small@one')).toEqual(await contentOf('vm@one'));
    const again = await cli(['import', '--export-format', '2', path, 'copy']);
    expect([again.exitCode, again.stderr.split('\n')[0]]).toEqual([17, 'farside: import failed: (17) File exists']);
    expect(await cli(['export', '--export-format', '2', 'vm', path])).toMatchObject({ exitCode: 17 });
  });

  test.each<[what: string, stream: Uint8Array, exitCode: number]>([
    ['cut off', v2.subarray(0, 12_000_000), 33],
    ['without its last end', v2.subarray(0, -1), 33],
    ['empty', Buffer.alloc(0), 33],
    ['a diff', recorded('full-s1.diff'), 22],
    ['fewer diffs than it says', v2.subarray(0, 3_500_000), 33],
    ['an object size that no image can have', Buffer.concat([v2.subarray(0, 22), Buffer.of(9), v2.subarray(23)]), 33],
  ])('%s: no image appears', async (_, stream, exitCode) => {
    const result = await cli(['import', '--export-format', '2', '-', 'vm'], { stdin: stream });
    expect([result.exitCode, result.stderr.split(':', 2)]).toEqual([exitCode, ['farside', ' import failed']]);
    expect((await cli(['export', 'vm', '-'])).exitCode).toBe(2);
  });

  test('--update takes raw content only; formats are 1 and 2', async () => {
    expect(await cli(['import', '--update', '--export-format', '2', '-', 'vm'])).toMatchObject({ exitCode: 22 });
    expect(await cli(['import', '--export-format', '3', '-', 'vm'])).toMatchObject({
      exitCode: 1,
      stderr: "farside: the argument for option '--export-format' is invalid\n",
    });
  });
});
