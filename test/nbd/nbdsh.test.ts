// libnbd's own client, option by option and command by command: what it negotiates, what it is refused, and what it is told when the
// device fails.

import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { FarsideError } from '../../lib/errors.ts';
import { seededRandom } from '../image/model.ts';
import { requireTool, systemPath } from '../require.ts';
import { MemoryDevice } from './memory-device.ts';
import { serve, toolOk, type Served } from './served.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const sizeBytes = 8 * MiB;

/** Data, a hole, data. */
function sparseDevice(deviceBytes = sizeBytes): MemoryDevice {
  const device = new MemoryDevice(deviceBytes);
  const random = seededRandom(1);
  device.poke(0, random.bytes(192 * KiB));
  device.poke(5 * MiB, random.bytes(3 * MiB));
  return device;
}

const contentOf = (device: MemoryDevice): string =>
  createHash('sha256').update(device.peek(0, device.sizeBytes)).digest('hex');

/** `attempt` prints what a call answers, or the name of its error; `O` is a handle that stops before it chooses an export. */
const prelude = [
  'def attempt(what):',
  '  try:',
  '    print(what())',
  '  except nbd.Error as error:',
  '    print(error.errno)',
  'def opened():',
  '  o = nbd.NBD()',
  '  o.set_opt_mode(True)',
  '  o.set_strict_mode(0)',
  '  o.connect_uri(URI)',
  '  return o',
];

describe.skipIf(!requireTool('nbdsh'))('nbdsh', () => {
  const shell = async (uri: string, script: readonly string[]): Promise<string> =>
    await toolOk('nbdsh', ['-c', script.join('\n').replaceAll('URI', JSON.stringify(uri))], { PATH: systemPath() });

  test('a client without structured replies reads the same', async () => {
    const device = sparseDevice();
    const { uri } = await serve({ device });
    const output = await shell(uri, [
      'import hashlib',
      'h.set_request_structured_replies(False)',
      'h.connect_uri(URI)',
      'print(h.get_structured_replies_negotiated(), h.can_df())',
      'digest = hashlib.sha256()',
      `for at in range(0, ${sizeBytes}, 1048576): digest.update(h.pread(1048576, at))`,
      'print(digest.hexdigest())',
    ]);
    expect(output).toBe(`False False\n${contentOf(device)}\n`);
  });

  test('structured reads come as chunks of data and holes', async () => {
    const { uri } = await serve({ device: sparseDevice() });
    const output = await shell(uri, [
      'h.connect_uri(URI)',
      'seen = []',
      'h.pread_structured(524288, 0, lambda data, at, status, error: seen.append((at, len(data), status == nbd.READ_HOLE)))',
      'print(sorted(seen))',
    ]);
    expect(output).toBe(`[(0, ${192 * KiB}, False), (${192 * KiB}, ${320 * KiB}, True)]\n`);
  });

  test('errors are those of the protocol, and the connection goes on after each', async () => {
    const { uri } = await serve({
      device: new MemoryDevice(MiB, { canZeroFast: false }),
      locked: new MemoryDevice(MiB, { readOnly: true }),
    });
    const output = await shell(uri, [
      ...prelude,
      'h.set_strict_mode(0)',
      'h.connect_uri(URI)',
      'attempt(lambda: h.pwrite(bytes(512), 1048576))',
      'attempt(lambda: h.pread(512, 1048576))',
      'attempt(lambda: h.zero(512, 1048576))',
      'attempt(lambda: h.trim(512, 1048576))',
      'attempt(lambda: h.zero(512, 0, nbd.CMD_FLAG_FAST_ZERO))',
      'attempt(lambda: h.pwrite(bytes(512), 0, nbd.CMD_FLAG_NO_HOLE))',
      'attempt(lambda: h.pwrite(bytes(512), 0, nbd.CMD_FLAG_FUA))',
      'o = nbd.NBD()',
      'o.set_strict_mode(0)',
      'o.set_export_name("locked")',
      'o.connect_uri(URI.replace(":///?", ":///locked?"))',
      'attempt(lambda: o.pwrite(bytes(512), 0))',
    ]);
    expect(output.trim().split('\n')).toEqual([
      'ENOSPC',
      'EINVAL',
      'ENOSPC',
      'EINVAL',
      'ENOTSUP',
      'EINVAL',
      'None',
      'EPERM',
    ]);
  });

  /** What a script prints, line by line. */
  const lines = async ({ uri }: Pick<Served, 'uri'>, script: readonly string[]): Promise<string[]> =>
    (await shell(uri, [...prelude, ...script])).trimEnd().split('\n');

  test('options: listed, asked about, refused and chosen, in one negotiation after the other', async () => {
    const served = await serve({ disk: sparseDevice(), other: new MemoryDevice(MiB) });
    const output = await lines(served, [
      'o = opened()',
      'names = []',
      'o.opt_list(lambda name, description: names.append((name, description)))',
      'print(names)',
      'contexts = []',
      'o.opt_list_meta_context(contexts.append)',
      'for context in ["base:allocation", "x:y"]: o.add_meta_context(context)',
      'o.opt_list_meta_context(contexts.append)',
      'print(contexts)',
      'o.set_export_name("nothing")',
      'attempt(o.opt_info)',
      'attempt(o.opt_go)',
      'o.set_export_name("other")',
      'o.set_full_info(True)',
      'o.opt_info()',
      'print(o.get_size(), o.get_canonical_export_name(), o.get_export_description(), o.get_block_size(nbd.SIZE_MAXIMUM))',
      'o.opt_go()',
      'print(o.get_size(), o.get_protocol(), o.can_meta_context("base:allocation"), o.can_meta_context("x:y"))',
      'o.shutdown()',
      'o = opened()',
      'o.opt_abort()',
      'print(o.aio_is_closed() or o.aio_is_dead())',
    ]);
    expect(output).toEqual([
      "[('disk', 'the disk disk'), ('other', 'the disk other')]",
      "['base:allocation', 'base:allocation']",
      'ENOENT',
      'ENOENT',
      `${MiB} other the disk other ${32 * MiB}`,
      `${MiB} newstyle-fixed True False`,
      'True',
    ]);
  });

  test('commands with each of their flags, many at once, and what no command may do', async () => {
    const device = sparseDevice(64 * MiB);
    const output = await lines(await serve({ device }), [
      'h.set_strict_mode(0)',
      'h.add_meta_context("base:allocation")',
      'h.connect_uri(URI)',
      'extents = []',
      'note = lambda context, at, entries, error: extents.append((at, entries))',
      `h.block_status(${6 * MiB}, 0, note)`,
      `h.block_status(${6 * MiB}, 0, note, nbd.CMD_FLAG_REQ_ONE)`,
      'print(extents)',
      'pieces = []',
      `h.pread_structured(${256 * KiB}, 0, lambda data, at, status, error: pieces.append(len(data)), nbd.CMD_FLAG_DF)`,
      'print(pieces)',
      'attempt(lambda: h.cache(65536, 0))',
      'attempt(lambda: h.trim(65536, 0, nbd.CMD_FLAG_FUA))',
      'attempt(lambda: h.zero(65536, 65536, nbd.CMD_FLAG_NO_HOLE | nbd.CMD_FLAG_FUA | nbd.CMD_FLAG_FAST_ZERO))',
      'attempt(lambda: h.pwrite(b"x" * 512, 1048576, nbd.CMD_FLAG_FUA))',
      'attempt(lambda: h.flush())',
      `attempt(lambda: h.pread(${33 * MiB}, 0))`,
      `attempt(lambda: h.pwrite(bytes(${33 * MiB}), 0))`,
      'attempt(lambda: h.pread(512, 2 ** 63 - 512))',
      'attempt(lambda: h.pread(512, 0, nbd.CMD_FLAG_REQ_ONE))',
      `attempt(lambda: h.block_status(512, ${64 * MiB}, note))`,
      'buffers = [nbd.Buffer.from_bytearray(bytearray([count]) * 4096) for count in range(64)]',
      'sent = [h.aio_pwrite(buffer, 2097152 + 4096 * count) for count, buffer in enumerate(buffers)]',
      'while sent:',
      '  h.poll(-1)',
      '  sent = [cookie for cookie in sent if not h.aio_command_completed(cookie)]',
      'print(all(h.pread(4096, 2097152 + 4096 * count) == bytes([count]) * 4096 for count in range(64)))',
    ]);
    const [data, hole] = [192 * KiB, 5 * MiB - 192 * KiB];
    expect(output).toEqual([
      `[(0, [${data}, 0, ${hole}, 3, ${MiB}, 0]), (0, [${data}, 0])]`,
      `[${256 * KiB}]`,
      ...Array.from({ length: 5 }, () => 'None'),
      'EOVERFLOW',
      'EINVAL',
      'EINVAL',
      'EINVAL',
      'EINVAL',
      'True',
    ]);
  });

  test('what the device fails with reaches the client by its name, and the connection goes on', async () => {
    const device = new MemoryDevice(MiB);
    const served = await serve({ device });
    const failing: [call: string, error: Error, command: string, told: string][] = [
      ['read', new FarsideError('EIO', 'no answer'), 'h.pread(512, 0)', 'EIO'],
      ['write', new FarsideError('ENOSPC', 'it is full'), 'h.pwrite(bytes(512), 0)', 'ENOSPC'],
      ['zero', new FarsideError('ESHUTDOWN', 'it was taken away'), 'h.zero(65536, 0)', 'ESHUTDOWN'],
      ['discard', new FarsideError('EROFS', 'it was demoted'), 'h.trim(65536, 0)', 'EPERM'],
      ['extents', new FarsideError('EBADMSG', 'it is damaged'), 'h.block_status(512, 0, lambda *_: 0)', 'EIO'],
      ['flush', new Error('a bug'), 'h.flush()', 'EIO'],
    ];
    for (const [call, error] of failing) device.failures.set(call, error);
    const output = await lines(served, [
      'h.add_meta_context("base:allocation")',
      'h.connect_uri(URI)',
      ...failing.map(([, , command]) => `attempt(lambda: ${command})`),
      ...failing.map(([, , command]) => `attempt(lambda: ${command} is not False)`),
    ]);
    expect(output).toEqual([...failing.map(([, , , told]) => told), ...failing.map(() => 'True')]);
  });
});
