import { expect, test } from 'vitest';
import { FarsideError } from '../../lib/errors.ts';
import { MemoryDevice, MemoryExports } from './memory-device.ts';
import { exportRequest, metaRequest, RawClient, repError, text, uint32 } from './raw-client.ts';
import { serve } from './served.ts';

const MiB = 1024 * 1024;
const one = (): Record<string, MemoryDevice> => ({ disk: new MemoryDevice(MiB) });
const opt = { exportName: 1, abort: 2, list: 3, startTls: 5, info: 6, go: 7, structured: 8, listMeta: 9, setMeta: 10 };
const everything = 0b1101_0110_1101;

test('list: names and descriptions of all exports', async () => {
  const { client } = await serve({ disk: new MemoryDevice(MiB), 'rbd/vm-1': new MemoryDevice(2 * MiB) });
  const raw = await client();
  const replies = await raw.option(opt.list);
  expect(replies.map(({ type }) => type)).toEqual([2, 2, 1]);
  expect(replies[1]!.data).toEqual(Buffer.concat([text('rbd/vm-1'), Buffer.from('the disk rbd/vm-1')]));
  expect(await raw.optionError(opt.list, Buffer.from('x'))).toBe(repError.invalid);
});

test('info and go: size, flags, name, description and block sizes, for those who ask', async () => {
  const { client } = await serve(one());
  const raw = await client();
  const infos = await raw.option(opt.info, exportRequest('', [1, 2, 3, 99]));
  expect(infos.map(({ type }) => type)).toEqual([3, 3, 3, 3, 1]);
  expect(infos[0]!.data.readBigUInt64BE(2)).toBe(BigInt(MiB));
  expect(infos[0]!.data.readUInt16BE(10)).toBe(everything);
  expect(infos[1]!.data.toString('latin1', 2)).toBe('disk');
  expect(infos[2]!.data.toString('latin1', 2)).toBe('the disk disk');
  expect([2, 6, 10].map((at) => infos[3]!.data.readUInt32BE(at))).toEqual([512, 4096, 32 * MiB]);
  expect(await raw.go('disk')).toEqual({ sizeBytes: MiB, flags: everything });
  expect(await raw.ask(3)).toBe(0);
});

test('flags tell of read-only devices, of one connection only, and of structured replies', async () => {
  const { client } = await serve({
    disk: new MemoryDevice(MiB, { readOnly: true }),
    alone: new MemoryDevice(MiB, { canMultiConn: false }),
  });
  expect((await (await client()).go('disk')).flags).toBe(everything | 2);
  expect((await (await client()).go('alone')).flags).toBe(everything & ~0x100);
  expect((await (await client()).go('disk', { structured: true })).flags).toBe(everything | 2 | 0x80);
});

test('a size that is no multiple of 512 is served to its last byte', async () => {
  const { client } = await serve({ disk: new MemoryDevice(1001) });
  const raw = await client();
  const infos = await raw.option(opt.info, exportRequest('disk', [3]));
  expect(infos[1]!.data.readUInt32BE(2)).toBe(1);
  await raw.go();
  expect(await raw.ask(1, { offset: 1000, data: Buffer.from('x') })).toBe(0);
  expect(await raw.ask(1, { offset: 1000, data: Buffer.from('xy') })).toBe(28);
});

test('export name: size, flags and 124 zeros, which a client may decline', async () => {
  const { server } = await serve(one());
  const raw = await RawClient.connect(server.addresses[0]!, 1);
  raw.sendOption(opt.exportName, Buffer.from('disk'));
  const answer = await raw.receive(134);
  expect(answer.readBigUInt64BE()).toBe(BigInt(MiB));
  expect(answer.subarray(10).every((byte) => byte === 0)).toBe(true);
  expect(await raw.ask(3)).toBe(0);
  const short = await RawClient.connect(server.addresses[0]!, 3);
  short.sendOption(opt.exportName, Buffer.from(''));
  await short.receive(10);
  expect(await short.ask(3)).toBe(0);
});

test('an export that is not there: go is told so and may try another; export name is hung up on', async () => {
  const { client } = await serve(one());
  const raw = await client();
  expect(await raw.optionError(opt.go, exportRequest('nothing'))).toBe(repError.unknown);
  expect(await raw.optionError(opt.setMeta, metaRequest('nothing', []))).toBe(repError.invalid);
  expect((await raw.go('disk')).sizeBytes).toBe(MiB);
  const old = await client();
  old.sendOption(opt.exportName, Buffer.from('nothing'));
  expect(await old.isHungUp()).toBe(true);
});

test('a device that does not open: the client is told why, and the next one tries again', async () => {
  const exports = new MemoryExports(one());
  exports.failure = new FarsideError('EBUSY', 'another writer has it');
  const { client, failures, server } = await serve(exports);
  const raw = await client();
  const refused = (await raw.option(opt.go, exportRequest('disk'))).at(-1)!;
  expect(refused.type).toBe(2 ** 31 + repError.unknown);
  expect(refused.data.toString()).toBe('another writer has it');
  expect(failures).toHaveLength(1);
  expect(server.status.deviceCount).toBe(0);
  exports.failure = new Error('secret');
  const secret = (await raw.option(opt.go, exportRequest('disk'))).at(-1)!;
  expect(secret.data.toString()).not.toContain('secret');
  expect((await raw.go('disk')).sizeBytes).toBe(MiB);
});

test('metadata contexts: listed by wildcard, selected by name, and only after structured replies', async () => {
  const { client } = await serve(one());
  const raw = await client();
  expect(await raw.optionError(opt.setMeta, metaRequest('disk', ['base:allocation']))).toBe(repError.invalid);
  await raw.option(opt.structured);
  const typesOf = async (code: number, queries: string[]): Promise<number[]> =>
    (await raw.option(code, metaRequest('disk', queries))).map(({ type }) => type);
  expect(await typesOf(opt.listMeta, [])).toEqual([4, 1]);
  expect(await typesOf(opt.listMeta, ['base:'])).toEqual([4, 1]);
  expect(await typesOf(opt.listMeta, ['qemu:'])).toEqual([1]);
  expect(await typesOf(opt.setMeta, ['base:'])).toEqual([1]);
  expect(await typesOf(opt.setMeta, [])).toEqual([1]);
  expect(await typesOf(opt.setMeta, ['x-other:1', 'base:allocation'])).toEqual([4, 1]);
  expect(await raw.optionError(opt.setMeta, metaRequest('nothing', ['base:allocation']))).toBe(repError.unknown);
});

test('block status is refused when the context was selected for another export, or is no longer', async () => {
  const { client } = await serve({ disk: new MemoryDevice(MiB), other: new MemoryDevice(MiB) });
  const raw = await client();
  await raw.option(opt.structured);
  await raw.option(opt.setMeta, metaRequest('other', ['base:allocation']));
  await raw.go('disk');
  raw.request(7, { length: 512 });
  expect((await raw.chunk()).data.readUInt32BE()).toBe(22);
});

test('options that are malformed are refused, and the negotiation goes on', async () => {
  const { client } = await serve(one());
  const raw = await client();
  await raw.option(opt.structured);
  const malformed: [number, Buffer][] = [
    [opt.info, Buffer.alloc(0)],
    [opt.info, Buffer.concat([uint32(100), Buffer.from('disk\0\0')])],
    [opt.info, Buffer.concat([text('disk'), Buffer.from([0, 2, 0, 1])])],
    [opt.info, exportRequest('a\0b')],
    [opt.info, exportRequest('x'.repeat(4097))],
    [opt.info, Buffer.concat([uint32(1), Buffer.from([0xff, 0, 0])])],
    [opt.setMeta, Buffer.concat([text('disk'), uint32(2 ** 32 - 1)])],
    [opt.setMeta, Buffer.concat([text('disk'), uint32(1), uint32(9), Buffer.from('short')])],
    [opt.setMeta, Buffer.concat([metaRequest('disk', ['base:allocation']), Buffer.from('more')])],
    [opt.listMeta, Buffer.from([0])],
    [opt.structured, Buffer.from([0])],
  ];
  for (const [code, data] of malformed)
    expect(await raw.optionError(code, data), data.toString('hex')).toBe(repError.invalid);
  expect(await raw.optionError(4711, Buffer.from('garbage'))).toBe(repError.unsupported);
  expect(await raw.optionError(11)).toBe(repError.unsupported);
  expect(await raw.optionError(opt.startTls)).toBe(repError.policy);
  expect((await raw.go('disk')).sizeBytes).toBe(MiB);
});

test('an option that is too long is skipped and refused; one that is absurd ends the connection', async () => {
  const { client } = await serve(one());
  const raw = await client();
  expect(await raw.optionError(opt.info, Buffer.alloc(100_000))).toBe(repError.tooBig);
  expect(await raw.optionError(opt.list)).toBe(0);
  raw.send(Buffer.from('IHAVEOPT'), uint32(opt.info), uint32(2 ** 32 - 1));
  expect(await raw.isHungUp()).toBe(true);
});

test('abort is acknowledged, and ends the connection', async () => {
  const { client } = await serve(one());
  const raw = await client();
  expect(await raw.optionError(opt.abort)).toBe(0);
  expect(await raw.isHungUp()).toBe(true);
});

test('garbage instead of flags or of an option ends the connection', async () => {
  const { server, client } = await serve(one());
  expect(await (await RawClient.connect(server.addresses[0]!, 4)).isHungUp()).toBe(true);
  const raw = await client();
  raw.send(Buffer.from('GET / HTTP/1.1\r\n\r\n'));
  expect(await raw.isHungUp()).toBe(true);
});

test('a client that goes on asking is hung up on', async () => {
  const { client } = await serve(one(), { limits: { optionCountMax: 3 } });
  const raw = await client();
  for (let count = 0; count < 3; count++) expect(await raw.optionError(opt.structured)).toBe(0);
  expect(await raw.isHungUp()).toBe(true);
});

test('a client that comes to no agreement in time is hung up on; one that is idle afterwards is not', async () => {
  const { server, client } = await serve(one(), { limits: { handshakeMs: 200, stallMs: 200 } });
  const agreed = await client();
  await agreed.go();
  const silent = await client();
  const halfway = await client();
  halfway.send(Buffer.from('IHAVE'));
  expect(await silent.isHungUp()).toBe(true);
  expect(await halfway.isHungUp()).toBe(true);
  await new Promise((resolve) => setTimeout(resolve, 400));
  expect(await agreed.ask(3)).toBe(0);
  expect(server.status.connectionCount).toBe(1);
});
