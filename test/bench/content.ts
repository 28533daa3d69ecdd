// Owns the files that benchmarks import: half random, half text-like, and changes of them.

import { randomFillSync } from 'node:crypto';
import { closeSync, fsyncSync, openSync, readSync, writeSync } from 'node:fs';
import { seededRandom } from '../image/model.ts';

export const MiB = 1024 * 1024;
const words = [
  'volume',
  'snapshot',
  'replica',
  'primary',
  'journal',
  'bucket',
  'delta',
  'the',
  'of',
  'and',
  '2026-11-23',
  '127.0.0.1',
  'ERROR',
  'info',
];

export type Kind = 'random' | 'mixed';

/** `mixed`: the first half random, the second text-like. */
export function makeFile(path: string, bytes: number, kind: Kind): void {
  const random = seededRandom(bytes);
  const text = Buffer.from(
    Array.from({ length: 120_000 }, () => words[Math.floor(random.fraction() * words.length)]).join(' '),
  );
  const file = openSync(path, 'w');
  const chunk = Buffer.allocUnsafe(MiB);
  for (let at = 0; at < bytes; at += MiB) {
    if (kind === 'mixed' && at >= bytes / 2)
      text.copy(chunk, 0, Math.floor(random.fraction() * 1000), 1000 + MiB > text.length ? text.length : MiB + 1000);
    else randomFillSync(chunk);
    if (kind === 'mixed' && at >= bytes / 2)
      for (let filled = text.length - 1000; filled < MiB; filled += text.length) text.copy(chunk, filled);
    writeSync(file, chunk, 0, Math.min(MiB, bytes - at), at);
  }
  fsyncSync(file);
  closeSync(file);
}

/** Overwrites distinct, aligned units of the file with random data. Answers the bytes changed. */
export function changeFile(
  path: string,
  fileBytes: number,
  unitBytes: number,
  changeBytes: number,
  seed: number,
): number {
  const random = seededRandom(seed);
  const units = new Set<number>();
  while (units.size * unitBytes < changeBytes) units.add(Math.floor((random.fraction() * fileBytes) / unitBytes));
  const file = openSync(path, 'r+');
  const unit = Buffer.allocUnsafe(unitBytes);
  for (const at of units) writeSync(file, randomFillSync(unit), 0, unitBytes, at * unitBytes);
  closeSync(file);
  return units.size * unitBytes;
}

/** Reads the file once, so that what follows does not measure the disk's mood. */
export function warm(path: string): void {
  const file = openSync(path, 'r');
  const chunk = Buffer.allocUnsafe(4 * MiB);
  while (readSync(file, chunk) > 0);
  closeSync(file);
}
