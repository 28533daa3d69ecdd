import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import * as fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { fromByteString, parseEntry, pathOfKey } from '../../lib/bucket/file-path.ts';
import { FileDriver } from '../../lib/bucket/file.ts';
import { describeBucket } from './conformance.ts';

const makeDirectory = (): string => fs.mkdtempSync(path.join(os.tmpdir(), 'farside-file-'));
const removeDirectory = (directory: string): void => fs.rmSync(directory, { recursive: true, force: true });

describeBucket('file', async () => {
  const directory = makeDirectory();
  return { open: () => new FileDriver(directory), close: async () => removeDirectory(directory) };
});

const childFile = fileURLToPath(new URL('file-child.ts', import.meta.url));
const raceKeyCount = 50;
const incrementCount = 25;

type Child = {
  process: ChildProcess;
  lines: string[];
  exited: Promise<number | null>;
  hasLines(count: number): Promise<void>;
};

function start(mode: string, directory: string, name: string): Child {
  const child = spawn(process.execPath, [childFile, mode, directory, name], { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  const lines: string[] = [];
  const waiting: Array<() => void> = [];
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString();
    const complete = output.split('\n');
    output = complete.pop()!;
    lines.push(...complete);
    for (const wake of waiting.splice(0)) wake();
  });
  const exited = new Promise<number | null>((resolve) => child.on('close', resolve));
  const hasLines = async (count: number): Promise<void> => {
    while (lines.length < count) await new Promise<void>((resolve) => waiting.push(resolve));
  };
  return { process: child, lines, exited, hasLines };
}

describe('file driver between processes', () => {
  const names = ['one', 'two', 'three', 'four'];
  let directory: string;
  let driver: FileDriver;

  beforeEach(() => {
    directory = makeDirectory();
    driver = new FileDriver(directory);
  });
  afterEach(() => removeDirectory(directory));

  const read = async (key: string): Promise<Buffer> => {
    const found = await driver.get(key);
    expect(found.status).toBe('found');
    return Buffer.from((found as { body: Uint8Array }).body);
  };

  test('create: of racing processes exactly one wins each key, and its bytes are there', async () => {
    const children = names.map((name) => ({ name, child: start('create', directory, name) }));
    expect(await Promise.all(children.map(({ child }) => child.exited))).toEqual([0, 0, 0, 0]);
    const wins = children.flatMap(({ name, child }) => child.lines.map((key) => ({ key, name })));
    expect(wins).toHaveLength(raceKeyCount);
    expect(new Set(wins.map(({ key }) => key)).size).toBe(raceKeyCount);
    for (const { key, name } of wins) expect((await read(key)).toString()).toBe(name);
  });

  test('replace: racing processes count together without losing a count', async () => {
    await driver.put('counter', Buffer.from('0'), 'absent');
    const children = names.map((name) => start('increment', directory, name));
    expect(await Promise.all(children.map((child) => child.exited))).toEqual([0, 0, 0, 0]);
    expect((await read('counter')).toString()).toBe(String(names.length * incrementCount));
  });

  test('delete: a key deleted under a replacing process stays deleted', async () => {
    const child = start('replace', directory, 'child');
    await child.hasLines(1);
    for (let round = 0; round < 150; round++) {
      await driver.put('victim', Buffer.from('fresh'), 'absent');
      await driver.delete(['victim']);
      expect(await driver.head('victim')).toBeUndefined();
    }
    child.process.kill('SIGKILL');
    await child.exited;
  });

  test('directories that siblings empty and remove are made again; none is left', async () => {
    const children = names.map((name) => start('churn', directory, name));
    expect(await Promise.all(children.map((child) => child.exited))).toEqual([0, 0, 0, 0]);
    expect(fs.readdirSync(path.join(directory, 'objects'))).toEqual([]);
  });

  test('kill -9: what was acknowledged is there, nothing half is visible, and the next process goes on', async () => {
    for (const [round, ackCount] of [3, 11, 24].entries()) {
      const child = start('write', directory, `run${round}`);
      await child.hasLines(ackCount);
      child.process.kill('SIGKILL');
      await child.exited;
      for (const line of child.lines) {
        const [key, bytes, fill] = line.split(' ') as [string, string, string];
        const body = await read(key);
        expect(body.length).toBe(Number(bytes));
        expect(body.every((byte) => byte === Number(fill))).toBe(true);
      }
      const page = await driver.list({ prefix: `packs/run${round}/`, limit: 1000 });
      expect(page.objects.length).toBeGreaterThanOrEqual(child.lines.length);
      for (const object of page.objects) expect(object.bytes).toBe(400_000 + Number(object.key.split('/')[2]));
      const document = (await read('document')).toString();
      expect(document).toBe(document.slice(0, document.length / 2_000).repeat(2_000));
    }
  });
});

describe('file driver on disk', () => {
  let directory: string;
  beforeEach(() => {
    directory = makeDirectory();
  });
  afterEach(() => removeDirectory(directory));

  test('temporary files that a killed process left are swept when old and kept while they may be in use', async () => {
    const driver = new FileDriver(directory);
    await driver.put('x', Buffer.from('x'), 'absent');
    const temporary = path.join(directory, 'temporary');
    expect(fs.readdirSync(temporary)).toEqual([]);
    fs.writeFileSync(path.join(temporary, 'young'), 'half an obj');
    fs.writeFileSync(path.join(temporary, 'old'), 'half an obj');
    fs.utimesSync(path.join(temporary, 'old'), 1, 1);
    const later = new FileDriver(directory);
    expect(fs.readdirSync(temporary)).toEqual(['young']);
    expect((await later.list({ prefix: '', limit: 10 })).objects.map((object) => object.key)).toEqual(['x']);
  });

  test('an object file that something else cut short is reported, not served', async () => {
    const driver = new FileDriver(directory);
    await driver.put('x', Buffer.from('some bytes'), 'absent');
    fs.truncateSync(path.join(directory, 'objects', 'x@'), 20);
    await expect(driver.get('x')).rejects.toMatchObject({ code: 'EBADMSG', retry: 'never' });
    await expect(driver.head('x')).rejects.toMatchObject({ code: 'EBADMSG' });
  });

  test('objects are their owner’s alone, though the directory that they lie in is open to all', () => {
    const bucket = path.join(directory, 'bucket');
    fs.chmodSync(directory, 0o755);
    void new FileDriver(bucket);
    expect(fs.statSync(bucket).mode & 0o777).toBe(0o700);
  });

  test('files that are not objects are not listed', async () => {
    const driver = new FileDriver(directory);
    await driver.put('d/x', Buffer.from('x'), 'absent');
    fs.writeFileSync(path.join(directory, 'objects', 'd', '.DS_Store'), '');
    expect((await driver.list({ prefix: '', limit: 10 })).objects.map((object) => object.key)).toEqual(['d/x']);
  });

  test('a directory that cannot be made is a failure that is not repeated', async () => {
    const file = path.join(directory, 'file');
    fs.writeFileSync(file, '');
    const open = (): unknown => new FileDriver(path.join(file, 'bucket'));
    expect(open).toThrow(expect.objectContaining({ code: 'EIO', retry: 'never' }));
    expect(open).toThrow(/ENOTDIR/);
  });

  test('property: every key has its own path, which reads back, with names that every file system takes', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', minLength: 1, maxLength: 300 }), (key) => {
        fc.pre(key.isWellFormed());
        const names = pathOfKey(key);
        expect(names.every((name) => /^[a-z0-9_%~-][a-z0-9_.%~-]*[@+]?$/.test(name) && name.length <= 255)).toBe(true);
        expect(fromByteString(names.map((name) => parseEntry(name)!.text).join(''))).toBe(key);
      }),
    );
  });
});

describe('streams of the file driver', () => {
  const content = Buffer.from(Array.from({ length: 1_000_000 }, (_, index) => index % 251));
  const openFiles = (): number => fs.readdirSync('/proc/self/fd').length;
  let directory: string;
  let driver: FileDriver;

  beforeEach(async () => {
    directory = makeDirectory();
    driver = new FileDriver(directory);
    await driver.put('packs/a', content, 'absent');
  });
  afterEach(() => removeDirectory(directory));

  const open = async (key: string): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> => {
    const outcome = await driver.stream(key);
    if (outcome.status !== 'found') throw new Error(`${key} is ${outcome.status}`);
    expect(outcome.meta.bytes).toBe(content.length);
    return outcome.body;
  };

  test('an object is read whole into memory of any size that its reader brings, and its file is closed', async () => {
    for (const partBytes of [1000, 300_000, 2_000_000]) {
      const before = openFiles();
      const reader = (await open('packs/a')).getReader({ mode: 'byob' });
      const parts: Buffer[] = [];
      let part = new ArrayBuffer(partBytes);
      for (;;) {
        const { done, value } = await reader.read(new Uint8Array(part));
        if (done || !value) break;
        parts.push(Buffer.from(value));
        part = value.buffer;
      }
      expect(Buffer.concat(parts).equals(content)).toBe(true);
      expect(openFiles()).toBe(before);
    }
  });

  test('a reader without memory of its own gets the whole object too', async () => {
    expect(Buffer.from(await new Response(await open('packs/a')).arrayBuffer()).equals(content)).toBe(true);
  });

  test('an object that is replaced meanwhile is read as it was found', async () => {
    const body = await open('packs/a');
    await driver.put('packs/a', Buffer.from('other'), 'none');
    expect(Buffer.from(await new Response(body).arrayBuffer()).equals(content)).toBe(true);
  });

  test('an absent object is absent', async () => {
    expect(await driver.stream('packs/b')).toEqual({ status: 'absent' });
  });

  test('a stream that is cancelled closes its file, also under a read', async () => {
    const before = openFiles();
    await (await open('packs/a')).cancel();
    const reader = (await open('packs/a')).getReader({ mode: 'byob' });
    const reading = reader.read(new Uint8Array(100));
    await reader.cancel();
    expect((await reading).done).toBe(true);
    await expect.poll(openFiles).toBe(before);
  });

  test('a file that was cut short is a fault that names the object, and is closed', async () => {
    const before = openFiles();
    const body = await open('packs/a');
    const file = path.join(directory, 'objects', ...pathOfKey('packs/a'));
    fs.truncateSync(file, 1000);
    await expect(new Response(body).arrayBuffer()).rejects.toThrow("the file of 'packs/a' ended early");
    expect(openFiles()).toBe(before);
  });
});
