// Owns the shared memory that bodies are received into: each piece is used again and again, and threads see it in place.

/** A pack of the usual size fits. Pages that are never touched cost nothing. */
const roomBytes = 9 * 1024 * 1024;
/** Rooms kept for the next bodies. */
const freeRoomsMax = 4;

export class Rooms {
  readonly #free: SharedArrayBuffer[] = [];
  #takenBytes = 0;

  take(): SharedArrayBuffer {
    const room = this.#free.pop() ?? new SharedArrayBuffer(roomBytes);
    this.#takenBytes += room.byteLength;
    return room;
  }

  /** `room`: the one that was taken, or what replaced it. */
  give(taken: SharedArrayBuffer, room = taken): void {
    this.#takenBytes -= taken.byteLength;
    if (room.byteLength === roomBytes && this.#free.length < freeRoomsMax) this.#free.push(room);
  }

  /** Memory in use and kept, bytes. */
  get heldBytes(): number {
    return this.#takenBytes + this.#free.length * roomBytes;
  }
}
