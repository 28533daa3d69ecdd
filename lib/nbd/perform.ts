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

/**
 * The request has passed `refuse`. Answers the parts of its reply; a failure of the device is thrown.
 * @param data what is to be written, or room for what is read, of which the reply may consist.
 */
export async function perform(request: Request, data: Uint8Array, device: Device, terms: Terms): Promise<Uint8Array[]> {
  if (request.type === command.read) return await read(request, data, device, terms);
  if (request.type === command.blockStatus) return [await blockStatus(request, device)];
  if (request.type === command.cache) await cache(request, data, device);
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

async function read(request: Request, room: Uint8Array, device: Device, terms: Terms): Promise<Uint8Array[]> {
  const { cookie, offset, length, flags } = request;
  if (length === 0) return [terms.structured ? encodeNone(cookie) : encodeSimple(cookie)];
  if (terms.structured && !(flags & commandFlag.df) && length >= sparseReadBytesMin)
    return await readSparse(request, room, device);
  await device.read(offset, room);
  return terms.structured ? encodeData(cookie, offset, room, true) : [encodeSimple(cookie), room];
}

async function readSparse(
  { cookie, offset, length }: Request,
  room: Uint8Array,
  device: Device,
): Promise<Uint8Array[]> {
  const pieces = planRead(offset, length, await device.extents(offset, length));
  const roomOf = (piece: Piece): Uint8Array =>
    room.subarray(piece.offset - offset, piece.offset - offset + piece.length);
  await readAll(device, pieces, roomOf);
  return pieces.flatMap((piece, index) => {
    const isLast = index === pieces.length - 1;
    if (piece.hole) return [encodeHole(cookie, piece.offset, piece.length, isLast)];
    return encodeData(cookie, piece.offset, roomOf(piece), isLast);
  });
}

/** All have settled before a failure is told: a device is not closed under a read, nor is its room used again. */
async function readAll(device: Device, pieces: readonly Piece[], roomOf: (piece: Piece) => Uint8Array): Promise<void> {
  const reads = pieces.map(async (piece) => {
    if (!piece.hole) await device.read(piece.offset, roomOf(piece));
  });
  const settled = await Promise.allSettled(reads);
  const failure = settled.find((one) => one.status === 'rejected');
  if (failure) throw failure.reason;
}

/** Reading is what warms a device; nothing is kept here. */
async function cache({ offset, length }: Request, room: Uint8Array, device: Device): Promise<void> {
  const end = offset + Math.min(length, cacheBytesMax);
  for (let position = offset; position < end; position += cachePieceBytes)
    await device.read(position, room.subarray(0, Math.min(cachePieceBytes, end - position)));
}

async function blockStatus({ cookie, offset, length, flags }: Request, device: Device): Promise<Uint8Array> {
  const found = await device.extents(offset, length);
  const extents = joinExtents(found, length, flags & commandFlag.reqOne ? 1 : extentCountMax);
  assert(extents.length > 0, 'a device knows no extent of a range');
  return encodeBlockStatus(cookie, allocationContextId, extents);
}
