// Owns what each command does to a device, and its reply. The device is called before anything is awaited, so that devices see
// changes in the order in which `perform` is called.

import { assert } from '../errors.ts';
import type { Device } from './device.ts';
import { cacheBytesMax, cachePieceBytes, extentCountMax } from './limits.ts';
import { joinExtents, planRead, sparseReadBytesMin, type Piece } from './read-plan.ts';
import { encodeBlockStatus, encodeData, encodeHole, encodeNone, encodeSimple, type Request } from './request-codec.ts';
import type { Terms } from './request-rules.ts';
import { command, commandFlag } from './wire.ts';

/** The one metadata context's id on every connection. */
export const allocationContextId = 1;

/** The request has passed `refuse`. Answers the parts of its reply; a failure of the device is thrown. */
export async function perform(request: Request, data: Uint8Array, device: Device, terms: Terms): Promise<Uint8Array[]> {
  if (request.type === command.read) return await read(request, device, terms);
  if (request.type === command.blockStatus) return [await blockStatus(request, device)];
  if (request.type === command.cache) await cache(request, device);
  else await change(request, data, device);
  return [encodeSimple(request.cookie)];
}

async function change(request: Request, data: Uint8Array, device: Device): Promise<void> {
  const { type, flags, offset, length } = request;
  if (type === command.flush) return await device.flush();
  if (length === 0) return;
  if (type === command.write) await device.write(offset, data);
  else if (type === command.trim) await device.discard(offset, length);
  else await device.zero(offset, length, zeroOptions(flags));
  if (flags & commandFlag.fua) await device.flush();
}

const zeroOptions = (flags: number): { punchHole: boolean; fastOnly: boolean } => ({
  punchHole: (flags & commandFlag.noHole) === 0,
  fastOnly: (flags & commandFlag.fastZero) !== 0,
});

async function read(request: Request, device: Device, terms: Terms): Promise<Uint8Array[]> {
  const { cookie, offset, length, flags } = request;
  if (length === 0) return [terms.structured ? encodeNone(cookie) : encodeSimple(cookie)];
  if (!terms.structured) return [encodeSimple(cookie), await readExactly(device, offset, length)];
  if (flags & commandFlag.df || length < sparseReadBytesMin)
    return encodeData(cookie, offset, await readExactly(device, offset, length), true);
  return await readSparse(request, device);
}

async function readSparse({ cookie, offset, length }: Request, device: Device): Promise<Uint8Array[]> {
  const pieces = planRead(offset, length, await device.extents(offset, length));
  const contents = await readAll(device, pieces);
  return pieces.flatMap((piece, index) => {
    const isLast = index === pieces.length - 1;
    const content = contents[index];
    if (content === undefined) return [encodeHole(cookie, piece.offset, piece.length, isLast)];
    return encodeData(cookie, piece.offset, content, isLast);
  });
}

/** All have settled before a failure is told: a device is not closed under a read. */
async function readAll(device: Device, pieces: readonly Piece[]): Promise<(Uint8Array | undefined)[]> {
  const reads = pieces.map(async (piece) =>
    piece.hole ? undefined : await readExactly(device, piece.offset, piece.length),
  );
  const settled = await Promise.allSettled(reads);
  const failure = settled.find((one) => one.status === 'rejected');
  if (failure) throw failure.reason;
  return settled.map((one) => (one.status === 'fulfilled' ? one.value : undefined));
}

async function readExactly(device: Device, offset: number, length: number): Promise<Uint8Array> {
  const data = await device.read(offset, length);
  assert(data.length === length, `a device read ${data.length} bytes of ${length}`);
  return data;
}

/** Reading is what warms a device; nothing is kept here. */
async function cache({ offset, length }: Request, device: Device): Promise<void> {
  const end = offset + Math.min(length, cacheBytesMax);
  for (let position = offset; position < end; position += cachePieceBytes)
    await device.read(position, Math.min(cachePieceBytes, end - position));
}

async function blockStatus({ cookie, offset, length, flags }: Request, device: Device): Promise<Uint8Array> {
  const found = await device.extents(offset, length);
  const extents = joinExtents(found, length, flags & commandFlag.reqOne ? 1 : extentCountMax);
  assert(extents.length > 0, 'a device knows no extent of a range');
  return encodeBlockStatus(cookie, allocationContextId, extents);
}
