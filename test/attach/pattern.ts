// A self-describing pattern for crash tests: requests that a seed and a number say in full, whose every sector tells which request
// wrote it. From what is found, the prefix of requests that it is follows, or that it is none.

import { createHash } from 'node:crypto';

export const sectorBytes = 512;
const headerBytes = 8;

export type Request = { seq: number; type: 'write' | 'zero'; sector: number; sectors: number };

/** Request number `seq` of a seed, on a disk of so many sectors. */
export function requestOf(seed: string, seq: number, sectorCount: number): Request {
  const drawn = createHash('sha256').update(`${seed}/${seq}`).digest();
  const sectors = 1 + (drawn.readUInt8(0) % 4 === 0 ? drawn.readUInt8(1) % 64 : drawn.readUInt8(1) % 8);
  const sector = drawn.readUInt32LE(2) % (sectorCount - sectors + 1);
  return { seq, type: drawn.readUInt8(6) % 8 === 0 ? 'zero' : 'write', sector, sectors };
}

/** What a write writes. */
export function dataOf({ seq, sector, sectors }: Request): Buffer {
  const data = Buffer.alloc(sectors * sectorBytes);
  for (let i = 0; i < sectors; i++) {
    data.fill(Buffer.from([seq & 255, (seq >>> 8) & 255, i & 255]), i * sectorBytes, (i + 1) * sectorBytes);
    data.writeUInt32LE(seq, i * sectorBytes);
    data.writeUInt32LE(sector + i, i * sectorBytes + 4);
  }
  return data;
}

/** Which request each sector is of; 0: zeros. Throws where a sector is no request's. */
export function decode(content: Uint8Array): Uint32Array {
  const bytes = Buffer.from(content.buffer, content.byteOffset, content.byteLength);
  return Uint32Array.from({ length: bytes.length / sectorBytes }, (_, sector) =>
    decodeSector(bytes.subarray(sector * sectorBytes, (sector + 1) * sectorBytes), sector),
  );
}

const zeros = Buffer.alloc(sectorBytes);

function decodeSector(bytes: Buffer, sector: number): number {
  if (bytes.equals(zeros)) return 0;
  const seq = bytes.readUInt32LE(0);
  const isWhole = seq > 0 && bytes.readUInt32LE(4) === sector && bytes.subarray(headerBytes, -4).equals(rest(bytes));
  if (!isWhole) throw new Error(`sector ${sector} is torn: ${bytes.subarray(0, 24).toString('hex')}`);
  return seq;
}

/** The filling repeats every three bytes; where it began is three places before. */
const rest = (bytes: Buffer): Buffer => bytes.subarray(headerBytes + 3, -1);

export function apply(state: Uint32Array, { seq, type, sector, sectors }: Request): void {
  state.fill(type === 'write' ? seq : 0, sector, sector + sectors);
}

export type Prefix = { seed: string; base: Uint32Array; firstSeq: number; minSeq: number; maxSeq: number };

/** The request that `found` is the state after, from `minSeq` to `maxSeq`; `base` is the state before `firstSeq`. Throws: there is none. */
export function prefixOf(found: Uint32Array, { seed, base, firstSeq, minSeq, maxSeq }: Prefix): number {
  const requests = Array.from({ length: maxSeq - firstSeq + 1 }, (_, i) => requestOf(seed, firstSeq + i, base.length));
  return reachedBy(found, firstSeq - 1, { base, requests, minSeq }).seq;
}

/** `base`: the state before the first of `requests`. */
export type Search = { base: Uint32Array; requests: Iterable<Request>; minSeq: number };
export type Found = { seq: number; state: Uint32Array };

/** The same for any requests: the first that fits. `atSeq`: the request that `base` is the state after. */
export function reachedBy(found: Uint32Array, atSeq: number, { base, requests, minSeq }: Search): Found {
  const state = Uint32Array.from(base);
  let wrong = countWrong(state, found, 0, state.length);
  let seq = atSeq;
  if (wrong === 0 && seq >= minSeq) return { seq, state };
  for (const request of requests) {
    const [from, to] = [request.sector, request.sector + request.sectors];
    wrong -= countWrong(state, found, from, to);
    apply(state, request);
    wrong += countWrong(state, found, from, to);
    seq = request.seq;
    if (wrong === 0 && seq >= minSeq) return { seq, state };
  }
  throw new Error(noPrefix(found, { base, requests, minSeq }, seq));
}

function countWrong(state: Uint32Array, found: Uint32Array, from: number, to: number): number {
  let count = 0;
  for (let i = from; i < to; i++) if (state[i] !== found[i]) count++;
  return count;
}

/** What the newest request that is seen there would have made of it, against what is there. */
function noPrefix(found: Uint32Array, { base, requests, minSeq }: Search, maxSeq: number): string {
  const newest = found.reduce((max, seq) => Math.max(max, seq), 0);
  const state = Uint32Array.from(base);
  for (const request of requests) {
    if (request.seq > newest) break;
    apply(state, request);
  }
  const wrong = [...state.keys()].filter((i) => state[i] !== found[i]);
  const shown = wrong.slice(0, 5).map((i) => `sector ${i} is of ${found[i]} and not of ${state[i]}`);
  return `no prefix from ${minSeq} to ${maxSeq}; with ${newest} as the newest, ${wrong.length} sectors are wrong: ${shown.join(', ')}`;
}
