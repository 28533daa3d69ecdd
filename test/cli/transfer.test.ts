// import, export and du through the engine, on the bucket directory of a local site.

import { createHash } from 'node:crypto';
import { open, readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { prefixes } from '../../lib/bucket/keys.ts';
import { openHeader } from '../../lib/image/access.ts';
import { createSnapshot } from '../../lib/image/snapshots.ts';
import { localSite, type LocalSite } from './local-site.ts';

let site: LocalSite;
let root: string;
beforeEach(async () => {
  site = await localSite();
  root = site.root;
});
afterEach(() => site.remove());

const deps: LocalSite['deps'] = () => site.deps();
const cli: LocalSite['cli'] = (words, options) => site.cli(words, options);

/** Bytes that do not compress, the same for one seed. */
function noise(byteCount: number, seed: string): Buffer {
  const parts: Buffer[] = [];
  for (let count = 0; count < byteCount; count += 32)
    parts.push(createHash('sha256').update(`${seed}/${count}`).digest());
  return Buffer.concat(parts).subarray(0, byteCount);
}

const mebibyte = 2 ** 20;

/** 9 MiB and a bit: data, a hole of 6 MiB, data that ends within a sector. */
async function sparseFile(path: string): Promise<Buffer> {
  const content = Buffer.concat([noise(2 * mebibyte, 'a'), Buffer.alloc(6 * mebibyte), noise(mebibyte + 123, 'b')]);
  const file = await open(path, 'w');
  await file.write(content, 0, 2 * mebibyte, 0);
  await file.write(content, 8 * mebibyte, mebibyte + 123, 8 * mebibyte);
  await file.close();
  return content;
}

describe('import and export', () => {
  test('a file comes back byte for byte, and its holes are holes again', async () => {
    const content = await sparseFile(join(root, 'in'));
    expect(await cli(['import', join(root, 'in'), 'vm-1'])).toMatchObject({ exitCode: 0, stderr: '' });
    expect(await cli(['export', 'vm-1', join(root, 'out')])).toMatchObject({ exitCode: 0, stderr: '' });
    expect((await readFile(join(root, 'out'))).equals(content)).toBe(true);
    expect((await stat(join(root, 'out'))).blocks * 512).toBeLessThan(5 * mebibyte);
  });

  test('stdout gets the zeros too', async () => {
    const content = await sparseFile(join(root, 'in'));
    await cli(['import', join(root, 'in'), 'rbd/vm-1']);
    expect((await cli(['export', 'vm-1', '-'])).stdout.equals(content)).toBe(true);
  });

  test('standard input, whose end nobody knows beforehand', async () => {
    const content = noise(5 * mebibyte + 7, 'c');
    expect(await cli(['import', '-', 'vm-1'], { stdin: content })).toMatchObject({ exitCode: 0 });
    expect((await cli(['export', 'vm-1', '-'])).stdout.equals(content)).toBe(true);
    expect(await cli(['import', '-'], { stdin: content })).toMatchObject({
      exitCode: 22,
      stderr: 'farside: image name was not specified\n',
    });
  });

  test('the target by options, before the words or behind them, as rbd takes it', async () => {
    await writeFile(join(root, 'in'), 'in');
    const lines = [
      '--dest one import in',
      '--image two --image-format 2 import in',
      '--dest three -p rbd import in --new-format',
      '--image four --dest-pool rbd import in',
      '--image rbd/five import in',
      '-p rbd import in',
    ];
    for (const line of lines)
      expect(await cli(line.split(' ').map((word) => (word === 'in' ? join(root, 'in') : word))), line).toMatchObject({
        exitCode: 0,
        stderr: '',
      });
    for (const name of ['one', 'two', 'three', 'four', 'five', 'in'])
      expect((await cli(['export', name, '-'])).stdout.toString(), name).toBe('in');
    expect(await cli(['-p', 'none', '--dest', 'x', 'import', join(root, 'in')])).toMatchObject({ exitCode: 2 });
    expect(await cli(['import', '--image-format', '1', join(root, 'in'), 'old'])).toMatchObject({
      exitCode: 22,
      stderr: 'farside: create error: format 1 is unsupported, as in rbd itself by now\n',
    });
  });

  test('empty files, and files that are one hole', async () => {
    await writeFile(join(root, 'empty'), '');
    await writeFile(join(root, 'hole'), '');
    await truncate(join(root, 'hole'), 2 ** 40);
    await cli(['import', join(root, 'empty')]);
    await cli(['import', join(root, 'hole')]);
    const usage = JSON.parse((await cli(['du', 'hole', '--format', 'json'])).stdout.toString()) as object;
    expect(usage).toMatchObject({ images: [{ name: 'hole', provisioned_size: 2 ** 40, used_size: 0 }] });
    expect((await cli(['export', 'empty', '-'])).stdout).toHaveLength(0);
  });

  test('FARSIDE_TUNING sizes the packs of an import, and a malformed one is refused', async () => {
    const packsOf = async (name: string): Promise<number> => {
      const { imageId } = (await openHeader(deps(), { pool: 'rbd', namespace: '', image: name })).value;
      return (await deps().bucket.list({ prefix: prefixes.packs(imageId), limit: 1000 })).objects.length;
    };
    const env = { FARSIDE_TUNING: '{"settings":{"packBytes":65536}}' };
    const stdin = noise(mebibyte, 'i');
    await cli(['import', '-', 'whole'], { stdin });
    await cli(['import', '-', 'cut'], { stdin, env });
    expect([await packsOf('whole'), await packsOf('cut')]).toEqual([1, 17]);
    expect(await cli(['import', '-', 'bad'], { stdin, env: { FARSIDE_TUNING: '{' } })).toMatchObject({ exitCode: 22 });
  });

  test('the name is that of the file unless another is given', async () => {
    await sparseFile(join(root, 'disk.img'));
    await cli(['import', join(root, 'disk.img')]);
    expect((await cli(['du', 'disk.img'])).exitCode).toBe(0);
  });

  test('a name that is taken: EEXIST, unless --update', async () => {
    const content = await sparseFile(join(root, 'in'));
    await cli(['import', join(root, 'in'), 'vm-1']);
    expect(await cli(['import', join(root, 'in'), 'vm-1'])).toEqual({
      exitCode: 17,
      stdout: Buffer.alloc(0),
      stderr: 'farside: import failed: (17) File exists\nimage rbd/vm-1 already exists\n',
    });
    noise(4096, 'd').copy(content, 4096);
    await writeFile(join(root, 'in'), content.subarray(0, 3 * mebibyte));
    expect(await cli(['import', '--update', join(root, 'in'), 'vm-1'])).toMatchObject({ exitCode: 0 });
    expect((await cli(['export', 'vm-1', '-'])).stdout.equals(content.subarray(0, 3 * mebibyte))).toBe(true);
    expect(await cli(['import', '--update', join(root, 'in'), 'vm-9'])).toMatchObject({ exitCode: 2 });
  });

  test('a snapshot is exported as it was; what is not there is said in rbd’s words', async () => {
    const before = noise(mebibyte, 'before');
    await cli(['import', '-', 'vm-1'], { stdin: before });
    await createSnapshot(deps(), { pool: 'rbd', namespace: '', image: 'vm-1' }, 'before');
    await cli(['import', '--update', '-', 'vm-1'], { stdin: noise(mebibyte, 'after') });
    expect((await cli(['export', 'vm-1@before', '-'])).stdout.equals(before)).toBe(true);
    expect(await cli(['export', 'vm-1@never', '-'])).toMatchObject({
      exitCode: 2,
      stderr: 'error setting snapshot context: (2) No such file or directory\n',
    });
    expect(await cli(['export', 'vm-9', '-'])).toMatchObject({
      exitCode: 2,
      stderr: 'farside: error opening image vm-9: (2) No such file or directory\n',
    });
  });

  test('an existing file is left alone; an unwritable place is said', async () => {
    await cli(['import', '-', 'vm-1'], { stdin: noise(4096, 'e') });
    await writeFile(join(root, 'out'), 'mine');
    const { exitCode, stderr } = await cli(['export', 'vm-1', join(root, 'out')]);
    expect([exitCode, stderr.split('\n')[0]]).toEqual([17, 'farside: export error: (17) File exists']);
    expect(await readFile(join(root, 'out'), 'utf8')).toBe('mine');
    expect(await cli(['export', 'vm-1', join(root, 'no', 'out')])).toMatchObject({
      exitCode: 2,
      stderr: expect.stringMatching(/^farside: export error: \(2\) No such file or directory\n.*no\/out'\n$/) as string,
    });
  });

  test.each([
    ['/nonexistent', 2, 'farside: error opening /nonexistent\n'],
    ['/', 22, 'farside: cannot import a directory\n'],
  ])('import %s: exit %i', async (path, exitCode, stderr) => {
    expect(await cli(['import', path, 'vm-1'])).toMatchObject({ exitCode, stderr });
  });

  test('an unknown pool', async () => {
    expect(await cli(['import', '-', 'nopool/vm-1'], { stdin: noise(512, 'f') })).toMatchObject({
      exitCode: 2,
      stderr: "farside: error opening pool 'nopool': (2) No such file or directory\n",
    });
  });
});

describe('progress', () => {
  test('on a terminal there is a bar with bytes, rate and ETA', async () => {
    await sparseFile(join(root, 'in'));
    const { stderr } = await cli(['import', join(root, 'in'), 'vm-1'], { isTTY: true });
    expect(stderr).toMatch(/Importing image: .*100% 9.0 MiB of 9.0 MiB .*\/s ETA/);
    expect((await cli(['export', 'vm-1', join(root, 'out')], { isTTY: true })).stderr).toContain('Exporting image');
  });

  test('none with --no-progress, none on a pipe', async () => {
    await sparseFile(join(root, 'in'));
    expect((await cli(['import', join(root, 'in'), 'vm-1', '--no-progress'], { isTTY: true })).stderr).toBe('');
    expect((await cli(['import', join(root, 'in'), 'vm-2'])).stderr).toBe('');
  });
});

describe('du', () => {
  test('a snapshot is charged what changed since the one before it', async () => {
    const content = noise(4 * mebibyte, 'g');
    const spec = { pool: 'rbd', namespace: '', image: 'vm-1' };
    await cli(['import', '-', 'vm-1'], { stdin: content });
    await createSnapshot(deps(), spec, 'one');
    noise(64 * 1024, 'h').copy(content, mebibyte);
    await cli(['import', '--update', '-', 'vm-1'], { stdin: content });
    await createSnapshot(deps(), spec, 'two');
    expect((await cli(['du', 'vm-1'])).stdout.toString()).toBe(
      'NAME      PROVISIONED  USED   \n' +
        'vm-1@one        4 MiB    4 MiB\n' +
        'vm-1@two        4 MiB   64 KiB\n' +
        'vm-1            4 MiB      0 B\n' +
        '<TOTAL>         4 MiB  4.1 MiB\n',
    );
    expect((await cli(['du', 'vm-1@one'])).stdout.toString()).toContain('vm-1@one        4 MiB  4 MiB\n');
  });
});
