import { expect, test } from 'vitest';
import { FarsideError, type ErrorCode } from '../../lib/errors.ts';
import { seededRandom } from '../image/model.ts';
import { MemoryDevice } from './memory-device.ts';
import { requestHeader, type Chunk, type RawClient } from './raw-client.ts';
import { serve, until, type Served } from './served.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const cmd = { read: 0, write: 1, disconnect: 2, flush: 3, trim: 4, cache: 5, zeroes: 6, status: 7 };
const flag = { fua: 1, noHole: 2, df: 4, reqOne: 8, fastZero: 16 };
const errno = { EPERM: 1, EIO: 5, EINVAL: 22, ENOSPC: 28, EOVERFLOW: 75, ENOTSUP: 95, ESHUTDOWN: 108 };

type Setting = { structured?: boolean; allocation?: boolean };

async function agreed(device: MemoryDevice, setting: Setting = {}, served?: Served): Promise<RawClient> {
  const raw = await (served ?? (await serve({ disk: device }))).client();
  await raw.go('disk', setting);
  return raw;
}

async function chunksOf(raw: RawClient, cookie = 7): Promise<Chunk[]> {
  const chunks: Chunk[] = [];
  do {
    const chunk = await raw.chunk();
    expect(chunk.cookie).toBe(cookie);
    chunks.push(chunk);
  } while ((chunks.at(-1)!.flags & 1) === 0);
  return chunks;
}

const errorOf = (chunk: Chunk): { error: number; text: string } => ({
  error: chunk.data.readUInt32BE(),
  text: chunk.data.toString('utf8', 6),
});

test('what was written is read, in simple replies', async () => {
  const raw = await agreed(new MemoryDevice(MiB));
  expect(await raw.ask(cmd.write, { offset: 1000, data: Buffer.from('hello') })).toBe(0);
  expect(await raw.ask(cmd.read, { offset: 998, length: 9 })).toBe(0);
  expect((await raw.receive(9)).toString()).toBe('\0\0hello\0\0');
});

test('a cookie comes back as it was sent', async () => {
  const raw = await agreed(new MemoryDevice(MiB));
  raw.request(cmd.flush, { cookie: 0 });
  raw.send(requestHeader(cmd.flush, { flags: 0, offset: 0, length: 0, cookie: 2 ** 53 - 1 }));
  expect((await raw.receive(16)).readBigUInt64BE(8)).toBe(0n);
  expect((await raw.receive(16)).readBigUInt64BE(8)).toBe(2n ** 53n - 1n);
});

test('a structured read tells data from holes; with DF it is one piece', async () => {
  const device = new MemoryDevice(MiB);
  const content = seededRandom(1).bytes(64 * KiB);
  device.poke(64 * KiB, content);
  const raw = await agreed(device, { structured: true });
  raw.request(cmd.read, { length: 256 * KiB });
  const chunks = await chunksOf(raw);
  expect(chunks.map(({ type, flags }) => [type, flags])).toEqual([
    [2, 0],
    [1, 0],
    [2, 1],
  ]);
  expect(chunks.map(({ data }) => Number(data.readBigUInt64BE()))).toEqual([0, 64 * KiB, 128 * KiB]);
  expect([chunks[0]!, chunks[2]!].map(({ data }) => data.readUInt32BE(8))).toEqual([64 * KiB, 128 * KiB]);
  expect(Buffer.compare(chunks[1]!.data.subarray(8), content)).toBe(0);
  raw.request(cmd.read, { flags: flag.df, length: 256 * KiB });
  const [whole, ...others] = await chunksOf(raw);
  expect([whole!.type, whole!.data.length, others.length]).toEqual([1, 256 * KiB + 8, 0]);
  expect(whole!.data.subarray(8).equals(device.peek(0, 256 * KiB))).toBe(true);
});

test('offsets beyond 4 GiB are right in both directions', async () => {
  const device = new MemoryDevice(2 ** 43);
  const raw = await agreed(device, { structured: true });
  const offset = 2 ** 42 + 4096;
  expect(await raw.ask(cmd.write, { offset, data: Buffer.from('far') })).toBe(0);
  raw.request(cmd.read, { offset, length: 3 });
  const [chunk] = await chunksOf(raw);
  expect(chunk!.data.readBigUInt64BE()).toBe(BigInt(offset));
  expect(chunk!.data.toString('latin1', 8)).toBe('far');
});

test('zeros, discards, flushes and cache requests reach the device as they were meant', async () => {
  const device = new MemoryDevice(MiB);
  const raw = await agreed(device);
  device.isNoting = true;
  await raw.ask(cmd.zeroes, { offset: 512, length: 512 });
  await raw.ask(cmd.zeroes, { flags: flag.noHole, offset: 1024, length: 512 });
  await raw.ask(cmd.zeroes, { flags: flag.fastZero, offset: 1536, length: 512 });
  await raw.ask(cmd.trim, { offset: 2048, length: 512 });
  await raw.ask(cmd.cache, { offset: 4096, length: 512 });
  await raw.ask(cmd.flush);
  expect(device.calls).toEqual(['zero 512', 'zero-allocated 1024', 'zero 1536', 'discard 2048', 'read 4096', 'flush']);
});

test('FUA flushes after the change, and before the reply; on a read it means nothing', async () => {
  const device = new MemoryDevice(MiB);
  const raw = await agreed(device);
  device.isNoting = true;
  for (const type of [cmd.zeroes, cmd.trim]) expect(await raw.ask(type, { flags: flag.fua, length: 512 })).toBe(0);
  expect(await raw.ask(cmd.read, { flags: flag.fua, length: 1 })).toBe(0);
  await raw.receive(1);
  const flushed = Promise.withResolvers<void>();
  device.gates.set('flush', flushed.promise);
  raw.request(cmd.write, { flags: flag.fua, data: Buffer.alloc(512) });
  raw.request(cmd.read, { length: 1, cookie: 8 });
  expect(await raw.simpleReply(8)).toBe(0);
  await raw.receive(1);
  flushed.resolve();
  expect(await raw.simpleReply()).toBe(0);
  expect(device.calls).toEqual(['zero 0', 'flush', 'discard 0', 'flush', 'read 0', 'write 0', 'flush', 'read 0']);
});

test('requests of one connection overlap: a slow read holds nothing up', async () => {
  const device = new MemoryDevice(MiB);
  const raw = await agreed(device);
  const slow = Promise.withResolvers<void>();
  device.gates.set('read', slow.promise);
  raw.request(cmd.read, { length: 4, cookie: 1 });
  expect(await raw.ask(cmd.write, { cookie: 2, data: Buffer.from('late') })).toBe(0);
  expect(await raw.ask(cmd.flush, { cookie: 3 })).toBe(0);
  slow.resolve();
  expect(await raw.simpleReply(1)).toBe(0);
  expect((await raw.receive(4)).toString()).toBe('late');
});

test('changes reach the device in the order in which they were sent', async () => {
  const device = new MemoryDevice(MiB);
  const raw = await agreed(device);
  device.isNoting = true;
  const expected: string[] = [];
  for (let index = 0; index < 200; index++) {
    const [type, name] = [[cmd.write, 'write'] as const, [cmd.zeroes, 'zero'] as const, [cmd.trim, 'discard'] as const][
      index % 3
    ]!;
    const payload = type === cmd.write ? { data: Buffer.alloc(512 + index) } : { length: 512 };
    raw.request(type, { offset: index * 512, cookie: index, ...payload });
    expected.push(`${name} ${index * 512}`);
  }
  for (let index = 0; index < 200; index++) await raw.receive(16);
  expect(device.calls).toEqual(expected);
});

test('block status: extents of the range, one if one is asked for, never beyond it', async () => {
  const device = new MemoryDevice(MiB);
  device.poke(64 * KiB, Buffer.alloc(64 * KiB, 1));
  const raw = await agreed(device, { structured: true, allocation: true });
  const extents = async (fields: { flags?: number; offset?: number; length: number }): Promise<number[][]> => {
    raw.request(cmd.status, fields);
    const [chunk] = await chunksOf(raw);
    expect([chunk!.type, chunk!.data.readUInt32BE()]).toEqual([5, 1]);
    return Array.from({ length: (chunk!.data.length - 4) / 8 }, (_, index) =>
      [4, 8].map((at) => chunk!.data.readUInt32BE(index * 8 + at)),
    );
  };
  expect(await extents({ length: MiB })).toEqual([
    [64 * KiB, 3],
    [64 * KiB, 0],
    [896 * KiB, 3],
  ]);
  expect(await extents({ flags: flag.reqOne, offset: 512, length: MiB - 512 })).toEqual([[63.5 * KiB, 3]]);
  expect(await extents({ offset: 65 * KiB, length: 512 })).toEqual([[512, 0]]);
});

type Case = { what: string; type: number; fields: object; error: number; setting?: Setting };
const cases: Case[] = [
  { what: 'a read beyond the end', type: cmd.read, fields: { offset: MiB - 1, length: 2 }, error: errno.EINVAL },
  {
    what: 'a write beyond the end',
    type: cmd.write,
    fields: { offset: MiB - 1, data: Buffer.alloc(2) },
    error: errno.ENOSPC,
  },
  { what: 'zeros beyond the end', type: cmd.zeroes, fields: { offset: MiB, length: 1 }, error: errno.ENOSPC },
  { what: 'a discard beyond the end', type: cmd.trim, fields: { offset: MiB, length: 1 }, error: errno.EINVAL },
  { what: 'a cache request beyond the end', type: cmd.cache, fields: { offset: MiB, length: 1 }, error: errno.EINVAL },
  {
    what: 'an offset at the end of all numbers',
    type: cmd.read,
    fields: { offset: 2n ** 64n - 1n, length: 1 },
    error: errno.EINVAL,
  },
  {
    what: 'a write at such an offset',
    type: cmd.write,
    fields: { offset: 2n ** 64n - 1n, data: Buffer.alloc(1) },
    error: errno.ENOSPC,
  },
  { what: 'a read of too much', type: cmd.read, fields: { length: 33 * MiB }, error: errno.EINVAL },
  { what: 'an unknown command', type: 4711, fields: {}, error: errno.EINVAL },
  { what: 'a resize', type: 8, fields: {}, error: errno.EINVAL },
  { what: 'an unknown flag', type: cmd.read, fields: { flags: 0x8000, length: 1 }, error: errno.EINVAL },
  {
    what: 'a flag of another command',
    type: cmd.write,
    fields: { flags: flag.noHole, data: Buffer.alloc(1) },
    error: errno.EINVAL,
  },
  { what: 'DF without structured replies', type: cmd.read, fields: { flags: flag.df, length: 1 }, error: errno.EINVAL },
  { what: 'a flush of a range', type: cmd.flush, fields: { length: 1 }, error: errno.EINVAL },
  { what: 'a block status that was not negotiated', type: cmd.status, fields: { length: 1 }, error: errno.EINVAL },
];

test.each(cases)('$what is refused with $error, and the connection goes on', async ({ type, fields, error }) => {
  const size = type === cmd.read && 'length' in fields && fields.length === 33 * MiB ? 64 * MiB : MiB;
  const raw = await agreed(new MemoryDevice(size));
  expect(await raw.ask(type, fields)).toBe(error);
  expect(await raw.ask(cmd.write, { data: Buffer.from('still') })).toBe(0);
  expect(await raw.ask(cmd.read, { length: 5 })).toBe(0);
  expect((await raw.receive(5)).toString()).toBe('still');
});

test.each(cases)('$what is refused in structured replies with words', async ({ type, fields, error }) => {
  const tooMuch = type === cmd.read && 'length' in fields && fields.length === 33 * MiB;
  const raw = await agreed(new MemoryDevice(tooMuch ? 64 * MiB : MiB), { structured: true });
  const isAllowed = 'flags' in fields && fields.flags === flag.df;
  raw.request(type, isAllowed ? { length: 1, flags: 0x8000 } : fields);
  const [chunk] = await chunksOf(raw);
  expect(chunk!.type).toBe(2 ** 15 + 1);
  expect(errorOf(chunk!).error).toBe(tooMuch ? errno.EOVERFLOW : error);
  expect(errorOf(chunk!).text.length).toBeGreaterThan(5);
  expect(await raw.ask(cmd.flush)).toBe(0);
});

test('a block status of nothing, or beyond the end, is refused', async () => {
  const raw = await agreed(new MemoryDevice(MiB), { structured: true, allocation: true });
  for (const fields of [{ length: 0 }, { offset: MiB, length: 512 }]) {
    raw.request(cmd.status, fields);
    expect(errorOf((await chunksOf(raw))[0]!).error).toBe(errno.EINVAL);
  }
});

test('nothing changes a read-only device', async () => {
  const device = new MemoryDevice(MiB, { readOnly: true });
  const raw = await agreed(device);
  device.isNoting = true;
  expect(await raw.ask(cmd.write, { data: Buffer.alloc(70_000) })).toBe(errno.EPERM);
  expect(await raw.ask(cmd.zeroes, { length: 512 })).toBe(errno.EPERM);
  expect(await raw.ask(cmd.trim, { length: 512 })).toBe(errno.EPERM);
  expect(await raw.ask(cmd.read, { length: 1 })).toBe(0);
  await raw.receive(1);
  expect(device.calls).toEqual(['read 0']);
});

test('requests of no length succeed and do nothing', async () => {
  const device = new MemoryDevice(MiB);
  const raw = await agreed(device);
  device.isNoting = true;
  for (const type of [cmd.read, cmd.write, cmd.trim, cmd.cache, cmd.zeroes]) expect(await raw.ask(type)).toBe(0);
  expect(device.calls).toEqual([]);
  const structured = await agreed(new MemoryDevice(MiB), { structured: true });
  structured.request(cmd.read);
  expect((await chunksOf(structured))[0]!.type).toBe(0);
});

test('a fast zero that is not fast is refused with ENOTSUP; without the flag it is done', async () => {
  const raw = await agreed(new MemoryDevice(MiB, { canZeroFast: false }));
  expect(await raw.ask(cmd.zeroes, { flags: flag.fastZero, length: 512 })).toBe(errno.ENOTSUP);
  expect(await raw.ask(cmd.zeroes, { length: 512 })).toBe(0);
});

test('zeros and discards may be longer than any payload', async () => {
  const raw = await agreed(new MemoryDevice(2 ** 33));
  expect(await raw.ask(cmd.zeroes, { length: 2 ** 32 - 1 })).toBe(0);
  expect(await raw.ask(cmd.trim, { length: 2 ** 32 - 1 })).toBe(0);
});

const told: [ErrorCode, number][] = [
  ['EPERM', errno.EPERM],
  ['EACCES', errno.EPERM],
  ['EROFS', errno.EPERM],
  ['EINVAL', errno.EINVAL],
  ['ENOSPC', errno.ENOSPC],
  ['EFBIG', errno.ENOSPC],
  ['EOPNOTSUPP', errno.ENOTSUP],
  ['ECANCELED', errno.ESHUTDOWN],
  ['ESTALE', errno.EIO],
  ['ETIMEDOUT', errno.EIO],
];

test.each(told)('a device that fails with %s: the client is told %d, by every command', async (code, error) => {
  const device = new MemoryDevice(MiB);
  const raw = await agreed(device);
  const byName: [string, number, object][] = [
    ['read', cmd.read, { length: 1 }],
    ['write', cmd.write, { data: Buffer.alloc(1) }],
    ['flush', cmd.flush, {}],
    ['flush', cmd.write, { flags: flag.fua, data: Buffer.alloc(1) }],
    ['zero', cmd.zeroes, { length: 1 }],
    ['discard', cmd.trim, { length: 1 }],
    ['read', cmd.cache, { length: 1 }],
  ];
  for (const [name, type, fields] of byName) {
    device.failures.set(name, new FarsideError(code, 'told to fail'));
    expect(await raw.ask(type, fields), name).toBe(error);
  }
  expect(await raw.ask(cmd.flush)).toBe(0);
});

test('words of a failure reach a structured client; those of a bug only the log', async () => {
  const device = new MemoryDevice(MiB);
  const served = await serve({ disk: device });
  const raw = await agreed(device, { structured: true, allocation: true }, served);
  device.failures.set('read', new FarsideError('ESTALE', 'another writer has taken over'));
  raw.request(cmd.read, { length: 512 });
  expect(errorOf((await chunksOf(raw))[0]!)).toEqual({ error: errno.EIO, text: 'another writer has taken over' });
  device.failures.set('extents', new Error('secret'));
  raw.request(cmd.status, { length: 512 });
  const bug = errorOf((await chunksOf(raw))[0]!);
  expect(bug.error).toBe(errno.EIO);
  expect(bug.text).not.toContain('secret');
  expect(served.failures).toHaveLength(2);
});

test('a structured read that fails in the middle is an error as a whole', async () => {
  const device = new MemoryDevice(MiB);
  for (const page of [1, 3, 5]) device.poke(page * 64 * KiB, Buffer.alloc(64 * KiB, page));
  const raw = await agreed(device, { structured: true });
  device.failures.set('read', new FarsideError('EIO', 'one of three'));
  raw.request(cmd.read, { length: MiB });
  expect((await chunksOf(raw)).map(({ type }) => type)).toEqual([2 ** 15 + 1]);
  raw.request(cmd.read, { length: MiB });
  expect((await chunksOf(raw)).map(({ type }) => type)).toEqual([2, 1, 2, 1, 2, 1, 2]);
});

test('a write that is too long is skipped and refused; one that is absurd ends the connection', async () => {
  const limits = { requestBytesMax: MiB, skipBytesMax: 2 * MiB };
  const { client, server } = await serve({ disk: new MemoryDevice(64 * MiB) }, { limits });
  const raw = await client();
  await raw.go();
  expect(await raw.ask(cmd.write, { data: Buffer.alloc(MiB + 1) })).toBe(errno.EINVAL);
  expect(await raw.ask(cmd.write, { data: Buffer.alloc(MiB) })).toBe(0);
  raw.send(requestHeader(cmd.write, { flags: 0, offset: 0, length: 2 * MiB + 1, cookie: 1 }));
  expect(await raw.isHungUp()).toBe(true);
  await until(() => server.status.inFlightBytes === 0, 'nothing is in flight');
});

test('a request without its magic ends the connection, and what was taken before is done', async () => {
  const device = new MemoryDevice(MiB);
  const { client, server } = await serve({ disk: device });
  const raw = await client();
  await raw.go();
  raw.request(cmd.write, { data: Buffer.from('kept') });
  raw.send(Buffer.alloc(28, 0xff));
  await raw.closed;
  await until(() => server.status.connectionCount === 0, 'the connection is gone');
  expect(device.peek(0, 4).toString()).toBe('kept');
});

test('disconnect: everything before it is done and answered, then the server hangs up', async () => {
  const device = new MemoryDevice(MiB);
  const raw = await agreed(device);
  const slow = Promise.withResolvers<void>();
  device.gates.set('write', slow.promise);
  raw.request(cmd.write, { data: Buffer.from('slow') });
  raw.request(cmd.disconnect);
  raw.socket.end();
  slow.resolve();
  expect(await raw.simpleReply()).toBe(0);
  expect(await raw.isHungUp()).toBe(true);
  expect(device.peek(0, 4).toString()).toBe('slow');
});

test('a client that leaves in the middle of a write leaves nothing behind, and nothing of it is written', async () => {
  const device = new MemoryDevice(MiB);
  const { client, server } = await serve({ disk: device });
  const raw = await client();
  await raw.go();
  device.isNoting = true;
  raw.send(requestHeader(cmd.write, { flags: 0, offset: 0, length: 1000, cookie: 1 }), Buffer.alloc(999, 1));
  await until(() => server.status.inFlightBytes === 1000, 'the write has begun');
  raw.socket.destroy();
  await until(() => server.status.connectionCount === 0, 'the connection is gone');
  expect(server.status.inFlightBytes).toBe(0);
  expect(device.calls).toEqual([]);
});
