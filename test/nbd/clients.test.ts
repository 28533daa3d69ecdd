// Real clients against the server on a device in memory.

import { createHash } from 'node:crypto';
import { closeSync, openSync, readFileSync, statSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { FarsideError } from '../../lib/errors.ts';
import { seededRandom } from '../image/model.ts';
import { requireTool } from '../require.ts';
import { MemoryDevice } from './memory-device.ts';
import { runTool, scratchDirectory, serve, toolOk, until } from './served.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const sizeBytes = 12 * MiB;

/** Content with holes: [offset, length], aligned to the pages of the device. */
const dataRanges = [
  [0, 192 * KiB],
  [5 * MiB, 3 * MiB],
  [sizeBytes - 64 * KiB, 64 * KiB],
] as const;

function sparseDevice(seed = 1): MemoryDevice {
  const device = new MemoryDevice(sizeBytes);
  const random = seededRandom(seed);
  for (const [offset, length] of dataRanges) device.poke(offset, random.bytes(length));
  return device;
}

/** The same content as a sparse file. */
function sparseFile(device: MemoryDevice): string {
  const path = join(scratchDirectory(), 'disk.raw');
  const file = openSync(path, 'w');
  for (const [offset, length] of dataRanges) writeSync(file, device.peek(offset, length), 0, length, offset);
  closeSync(file);
  truncateSync(path, device.sizeBytes);
  return path;
}

const hashOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const contentOf = (device: MemoryDevice): string => hashOf(device.peek(0, device.sizeBytes));
const allocatedBytes = (path: string): number => statSync(path).blocks * 512;
const dataBytes = dataRanges.reduce((sum, [, length]) => sum + length, 0);

describe.skipIf(!requireTool('nbdinfo'))('nbdinfo', () => {
  test('sees the export, its abilities and its sizes', async () => {
    const { uri } = await serve({ disk: sparseDevice() });
    const info = JSON.parse(await toolOk('nbdinfo', ['--json', '--no-content', uri])) as {
      structured: boolean;
      exports: Record<string, unknown>[];
    };
    expect(info.structured).toBe(true);
    expect(info.exports[0]).toMatchObject({
      'export-name': 'disk',
      'export-size': sizeBytes,
      description: 'the disk disk',
      contexts: ['base:allocation'],
      is_read_only: false,
      is_rotational: false,
      can_cache: true,
      can_df: true,
      can_fast_zero: true,
      can_flush: true,
      can_fua: true,
      can_multi_conn: true,
      can_trim: true,
      can_zero: true,
      block_size_minimum: 512,
      block_size_preferred: 4096,
      block_size_maximum: 32 * MiB,
    });
  });

  test('--size, --is and --can', async () => {
    const { uri } = await serve({ disk: new MemoryDevice(sizeBytes, { readOnly: true, canMultiConn: false }) });
    expect(await toolOk('nbdinfo', ['--size', uri])).toBe(`${sizeBytes}\n`);
    expect((await runTool('nbdinfo', ['--is', 'read-only', uri])).code).toBe(0);
    expect((await runTool('nbdinfo', ['--can', 'write', uri])).code).toBe(2);
    expect((await runTool('nbdinfo', ['--can', 'multi-conn', uri])).code).toBe(2);
    expect((await runTool('nbdinfo', ['--can', 'flush', uri])).code).toBe(0);
  });

  test('--list names all exports, and --map the holes', async () => {
    const { uri } = await serve({ 'rbd/vm-1': sparseDevice(), other: new MemoryDevice(MiB) });
    const list = await toolOk('nbdinfo', ['--list', '--no-content', uri]);
    expect(list).toContain('export="rbd/vm-1":');
    expect(list).toContain('export="other":');
    const map = JSON.parse(await toolOk('nbdinfo', ['--map', '--json', uri])) as {
      offset: number;
      length: number;
      type: number;
    }[];
    expect(map.filter(({ type }) => type === 0).map(({ offset, length }) => [offset, length])).toEqual(dataRanges);
    expect(map.reduce((sum, { length }) => sum + length, 0)).toBe(sizeBytes);
  });

  test('an export that is not there is told by name', async () => {
    const { uri } = await serve({ disk: sparseDevice() });
    const { code, stderr } = await runTool('nbdinfo', [uri.replace(':///?', ':///nothing?')]);
    expect(code).toBe(1);
    expect(stderr).toContain('No such file or directory for export: nothing');
  });
});

describe.skipIf(!requireTool('nbdcopy'))('nbdcopy', () => {
  test.each([1, 4])('out and in over %i connections: bytes and holes are the same', async (connections) => {
    const source = sparseDevice();
    const target = new MemoryDevice(sizeBytes);
    const { uri, directory } = await serve({ source, target });
    const file = join(directory, 'copy.raw');
    const options = [`--connections=${connections}`, '--flush'];
    await toolOk('nbdcopy', [...options, uri, file]);
    expect(hashOf(readFileSync(file))).toBe(contentOf(source));
    expect(allocatedBytes(file)).toBe(dataBytes);
    await toolOk('nbdcopy', [...options, file, uri.replace(':///?', ':///target?')]);
    expect(contentOf(target)).toBe(contentOf(source));
    expect(new Set(target.pages.keys())).toEqual(new Set(source.pages.keys()));
  });

  test('from one export to another, where the target held something else', async () => {
    const source = sparseDevice();
    const target = sparseDevice(2);
    target.poke(10 * MiB, seededRandom(3).bytes(MiB));
    const { uri } = await serve({ source, target });
    await toolOk('nbdcopy', [uri, uri.replace(':///?', ':///target?')]);
    expect(contentOf(target)).toBe(contentOf(source));
  });
});

describe.skipIf(!requireTool('qemu-img'))('qemu-img', () => {
  const imageOf = (uri: string, name: string): string => uri.replace(':///?', `:///${name}?`);

  test.each(['raw', 'qcow2'])('convert from and to %s: the content is the same', async (format) => {
    const source = sparseDevice();
    const target = new MemoryDevice(sizeBytes);
    const { uri, directory } = await serve({ source, target });
    const file = join(directory, `disk.${format}`);
    await toolOk('qemu-img', ['convert', '-f', 'raw', '-O', format, uri, file]);
    expect(await toolOk('qemu-img', ['compare', '-f', 'raw', '-F', format, uri, file])).toContain('identical');
    expect(allocatedBytes(file)).toBeLessThan(dataBytes + MiB);
    await toolOk('qemu-img', ['convert', '-n', '-f', format, '-O', 'raw', file, imageOf(uri, 'target')]);
    expect(contentOf(target)).toBe(contentOf(source));
  });

  test('info and map know size and holes; compare finds a difference of one byte', async () => {
    const source = sparseDevice();
    const { uri } = await serve({ source });
    const file = sparseFile(source);
    const info = JSON.parse(await toolOk('qemu-img', ['info', '--output=json', uri])) as Record<string, unknown>;
    expect(info['virtual-size']).toBe(sizeBytes);
    const map = JSON.parse(await toolOk('qemu-img', ['map', '-f', 'raw', '--output=json', uri])) as {
      start: number;
      length: number;
      data: boolean;
    }[];
    expect(map.filter(({ data }) => data).map(({ start, length }) => [start, length])).toEqual(dataRanges);
    expect((await runTool('qemu-img', ['compare', '-f', 'raw', uri, file])).code).toBe(0);
    source.poke(6 * MiB + 1, Buffer.from([source.peek(6 * MiB + 1, 1)[0]! ^ 1]));
    expect((await runTool('qemu-img', ['compare', '-f', 'raw', uri, file])).code).toBe(1);
  });
});

describe.skipIf(!requireTool('qemu-io'))('qemu-io', () => {
  const io = async (uri: string, commands: readonly string[], words: readonly string[] = []): Promise<string> =>
    await toolOk('qemu-io', ['-f', 'raw', ...words, ...commands.flatMap((command) => ['-c', command]), uri]);

  test('patterns, zeros, discards and flushes, aligned and not', async () => {
    const device = new MemoryDevice(24 * MiB);
    const { uri } = await serve({ device });
    const output = await io(uri, [
      'write -P 0x11 0 1M',
      'write -P 0x22 1000 333',
      'read -P 0x11 0 1000',
      'read -P 0x22 1000 333',
      'write -z 64k 64k',
      'read -P 0 64k 64k',
      'write -z -u 256k 128k',
      'discard 512k 128k',
      'write -P 0x33 -f 2M 17M',
      'read -P 0x33 2M 17M',
      'aio_write -P 0x44 20M 1M',
      'aio_write -P 0x55 21M 1M',
      'aio_flush',
      'read -P 0x44 20M 1M',
      'flush',
    ]);
    expect(output).not.toMatch(/failed|error/i);
    expect(device.peek(1000, 333).every((byte) => byte === 0x22)).toBe(true);
    expect(device.peek(256 * KiB, 128 * KiB).every((byte) => byte === 0)).toBe(true);
    expect(device.pages.has(512 / 64)).toBe(false);
    expect(device.peek(21 * MiB, MiB).every((byte) => byte === 0x55)).toBe(true);
    const wrong = await runTool('qemu-io', ['-f', 'raw', '-c', 'read -P 0x99 0 512', uri]);
    expect([wrong.code, wrong.stdout]).toEqual([1, expect.stringContaining('Pattern verification failed')]);
  });

  test('FUA and flush reach the device', async () => {
    const device = new MemoryDevice(MiB);
    const { uri } = await serve({ device });
    device.isNoting = true;
    await io(uri, ['write -f 0 64k', 'flush'], ['-t', 'none']);
    const first = device.calls.indexOf('write 0');
    expect(device.calls.slice(first, first + 2)).toEqual(['write 0', 'flush']);
  });

  test('a read-only export is not written', async () => {
    const { uri } = await serve({ device: new MemoryDevice(MiB, { readOnly: true }) });
    expect((await runTool('qemu-io', ['-f', 'raw', '-c', 'write 0 512', uri])).stderr).toMatch(/permission denied/i);
    expect(await io(uri, ['read -P 0 0 512'], ['-r'])).toContain('read 512/512 bytes');
  });

  test('what the device fails with is an error of the very request, and the next one is served', async () => {
    const device = new MemoryDevice(MiB);
    const { uri } = await serve({ device });
    const attempt = async (call: string, command: string, error: Error): Promise<string> => {
      device.failures.set(call, error);
      const commands = command.split('; ').flatMap((one) => ['-c', one]);
      const { code, stdout, stderr } = await runTool('qemu-io', ['-f', 'raw', '-t', 'none', ...commands, uri]);
      return `${code}: ${stdout}${stderr}`;
    };
    const full = new FarsideError('ENOSPC', 'it is full');
    const gone = new FarsideError('ESHUTDOWN', 'the image was taken away');
    expect(await attempt('read', 'read 64k 4k', new FarsideError('EIO', 'no'))).toMatch(
      /read failed: Input\/output error/,
    );
    expect(await attempt('write', 'write 0 4k', full)).toMatch(/write failed: No space left on device/);
    expect(await attempt('flush', 'write 128k 4k; flush', new Error('a bug'))).toMatch(/^1: wrote /);
    expect(await attempt('discard', 'discard 0 64k', gone)).toMatch(/discard failed: .+/);
    expect(await attempt('zero', 'write -z -u 0 64k', gone)).toMatch(/write failed: .+/);
    expect(device.failures.size).toBe(0);
    expect(await io(uri, ['write -P 7 0 4k', 'read -P 7 0 4k', 'flush'])).not.toMatch(/failed/);
  });

  test('a size that is no multiple of 512', async () => {
    const device = new MemoryDevice(MiB + 100);
    const { uri } = await serve({ device });
    await io(uri, [`write -P 0x77 ${MiB + 1} 99`, `read -P 0x77 ${MiB + 1} 99`]);
    expect(device.peek(MiB + 1, 99).every((byte) => byte === 0x77)).toBe(true);
  });
});

/** Each on a quarter of the disk of its own, at once. */
const fioJobs: Record<string, readonly string[]> = {
  'random writes, verified': ['rw=randwrite', 'bsrange=512-64k', 'iodepth=32', 'verify=crc32c', 'fsync=64'],
  'writes and trims mixed': ['rw=randtrimwrite', 'bs=4k', 'iodepth=16', 'fdatasync=32'],
  'sequential writes, verified': ['rw=write', 'bs=256k', 'iodepth=16', 'verify=crc32c', 'end_fsync=1'],
  'reads and writes mixed, verified': ['rw=randrw', 'bs=8k', 'iodepth=32', 'verify=crc32c', 'fsync=16'],
};

describe.skipIf(!requireTool('fio'))('fio', () => {
  test('writes, reads, trims and flushes of every kind at once, verified', async () => {
    const { uri, directory, server, failures } = await serve({ device: new MemoryDevice(32 * MiB) });
    const jobs = Object.entries(fioJobs).flatMap(([name, lines], index) => [
      `[${name}]`,
      `offset=${8 * index}m`,
      ...lines,
    ]);
    const file = join(directory, 'job.fio');
    writeFileSync(file, ['[global]', 'ioengine=nbd', `uri=${uri}`, 'size=8m', ...jobs, ''].join('\n'));
    const report = join(directory, 'report.json');
    await toolOk('fio', ['--output-format=json', `--output=${report}`, `--aux-path=${directory}`, file]);
    const result = JSON.parse(readFileSync(report, 'utf8')) as { jobs: { jobname: string; error: number }[] };
    expect(result.jobs.map(({ jobname, error }) => [jobname, error])).toEqual(
      Object.keys(fioJobs).map((name) => [name, 0]),
    );
    expect(failures).toEqual([]);
    await until(() => server.status.connectionCount === 0, 'the client has gone');
    expect(server.status.inFlightBytes).toBe(0);
  });
});

describe.skipIf(!requireTool('nbdkit'))('nbdkit', () => {
  test('its client passes everything on: a copy through it is the same', async () => {
    const source = sparseDevice();
    const { uri } = await serve({ source });
    const file = sparseFile(source);
    const command = `nbdinfo --map "$uri" && qemu-img compare -f raw "$uri" ${file}`;
    const output = await toolOk('nbdkit', ['-r', '-U', '-', 'nbd', uri, '--run', command]);
    expect(output).toContain('hole,zero');
    expect(output).toContain('Images are identical');
  });
});
