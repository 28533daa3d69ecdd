// Owns a pack that is still being filled: entries are copied into its room as they come, so their sources may go, and the
// index is written before them at the end. Rooms of full packs are used again where the bucket lets go of them.

import { assert } from '../../errors.ts';
import { indexBytes, nodeBytesMax, sealPack, type EncodedPack, type Entry, type NewEntry } from '../format/pack.ts';
import type { Pack } from './pack-store.ts';

/** Room kept before the payload: the index of a pack full of blocks of 4 KiB. More entries cost one copy of the pack. */
const payloadStart = indexBytes(2100);
/** Packs that stay below this never take a full room. */
const smallBytes = 256 * 1024;

/** Memory for packs being filled and uploaded. */
export class Rooms {
  readonly #roomBytes: number;
  readonly #free: Buffer[] = [];

  /** @param packBytes payload at which packs are closed; the last entry may go beyond it. */
  constructor(packBytes: number) {
    this.#roomBytes = payloadStart + packBytes + nodeBytesMax;
  }

  take(payloadBytes: number): Buffer {
    if (payloadBytes <= smallBytes) return Buffer.allocUnsafe(payloadStart + smallBytes);
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(Math.max(this.#roomBytes, payloadStart + payloadBytes));
  }

  give(room: Buffer): void {
    if (room.length === this.#roomBytes) this.#free.push(room);
  }
}

export class OpenPack {
  readonly #rooms: Rooms;
  readonly #entries: Entry[] = [];
  #room: Buffer | undefined;
  #payloadStart = payloadStart;
  payloadBytes = 0;
  /** Names the pack once its content, and so its id, is settled. */
  closed: Pack | undefined;

  constructor(rooms: Rooms) {
    this.#rooms = rooms;
  }

  get entryCount(): number {
    return this.#entries.length;
  }

  /** Takes room for all of a new pack at once, where it is known; a small one takes no more than it needs, since it may be kept for long. */
  reserve(entryCount: number, payloadBytes: number): void {
    assert(!this.#room, 'room is reserved for a pack that has some');
    if (payloadBytes > smallBytes) return void this.#roomFor(payloadStart + payloadBytes);
    this.#payloadStart = indexBytes(entryCount);
    this.#room = Buffer.allocUnsafeSlow(this.#payloadStart + payloadBytes);
  }

  /** Copies the entry's bytes. @returns the entry's number. */
  add({ entry, encoded }: NewEntry): number {
    assert(!this.closed, 'an entry was added to a closed pack');
    const start = this.#payloadStart + this.payloadBytes;
    this.#roomFor(start + encoded.length).set(encoded, start);
    this.payloadBytes += encoded.length;
    return this.#entries.push(entry) - 1;
  }

  #roomFor(bytes: number): Buffer {
    if (this.#room && bytes <= this.#room.length) return this.#room;
    const larger = this.#rooms.take(bytes - this.#payloadStart);
    if (this.#room) {
      this.#room.copy(larger, this.#payloadStart, this.#payloadStart, this.#payloadStart + this.payloadBytes);
      this.#rooms.give(this.#room);
    }
    this.#room = larger;
    return larger;
  }

  /** Settles the pack's id. `free`: to be called when `encoded.bytes` are not needed any more. */
  close(): { encoded: EncodedPack; free: () => void } {
    const room = this.#room;
    assert(room && !this.closed, 'an empty or closed pack is closed');
    const encoded = sealPack(this.#entries, room, this.#payloadStart, this.payloadBytes);
    this.closed = { packId: encoded.packId, entryCount: encoded.entryCount, packBytes: encoded.bytes.length };
    this.#entries.length = 0;
    this.#room = undefined;
    return { encoded, free: () => this.#rooms.give(room) };
  }
}
