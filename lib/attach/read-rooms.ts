// Owns the memory that blocks pass through on their way from the bucket: rooms of two sizes that are used again.

import type { ReadMemory } from '../image/packs/pack-store.ts';

/** One request of a client, and what is read ahead at once. */
const roomSizes = [512 * 1024, 4.5 * 1024 * 1024];
/** Kept of each size. */
const freeRoomsMax = 2;

export class ReadRooms implements ReadMemory {
  readonly #free = new Map<number, Uint8Array[]>(roomSizes.map((bytes) => [bytes, []]));

  take(byteCount: number): Uint8Array {
    const bytes = roomSizes.find((size) => byteCount <= size) ?? byteCount;
    return this.#free.get(bytes)?.pop() ?? Buffer.allocUnsafeSlow(bytes);
  }

  give(room: Uint8Array): void {
    const free = this.#free.get(room.length);
    if (free && free.length < freeRoomsMax) free.push(room);
  }
}
