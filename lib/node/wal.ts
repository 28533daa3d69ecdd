// Owns the write-ahead log of an attached image: segments on a local disk, durable here before the bucket has them. So a flush takes
// as long as this disk, and what it covers outlives the process, but not the loss of this machine.
//
// One folder for each image: files of records, in order. A file is left behind when it is large enough, and removed when the bucket
// has all of it. A torn record at the end was never acknowledged.
//
//   file    magic 8 · epoch 8 · CRC-32 4
//   record  bytes 4 · CRC-32 of what follows 4 · slot 8 · segment

import { mkdir, open, readdir, readFile, rename, rm, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { WriteAheadLog } from '../attach/journal-writer.ts';
import { FarsideError } from '../errors.ts';
import { openHeader } from '../image/access.ts';
import type { ImageDeps, ImageSpec } from '../image/deps.ts';
import { crc32 } from '../image/format/digest.ts';
import type { Header, Journal } from '../image/header.ts';
import { parseEpochId, type EpochId } from '../image/ids.ts';
import { fillSlot, holdsBytes } from '../image/journal/slots.ts';

const magic = Buffer.from('farsideW', 'latin1');
const headBytes = magic.length + 8 + 4;
const recordHeadBytes = 16;
/** A file that is as large is followed by another. */
const fileBytesMax = 64 * 1024 * 1024;
const suffix = '.wal';
const orphanSuffix = '.orphan';

type LogFile = { path: string; file: FileHandle; bytes: number; endSeq: number };
export type LogRecord = { seq: number; bytes: Buffer };
export type LogContent = { epoch: EpochId; records: LogRecord[] };

const folderOf = (directory: string, imageId: string): string => join(directory, imageId);

export class DiskLog implements WriteAheadLog {
  readonly #folder: string;
  readonly #epoch: EpochId;
  #files: LogFile[] = [];

  constructor(directory: string, imageId: string, epoch: EpochId) {
    this.#folder = folderOf(directory, imageId);
    this.#epoch = epoch;
  }

  /** EIO: the disk does not take it. */
  async append(seq: number, bytes: Uint8Array): Promise<void> {
    try {
      const log = await this.#fileFor(seq);
      const record = encodeRecord(seq, bytes);
      await log.file.appendFile(record);
      await log.file.datasync();
      log.bytes += record.length;
      log.endSeq = seq + 1;
    } catch (cause) {
      throw new FarsideError('EIO', `the write-ahead log in ${this.#folder} failed: ${(cause as Error).message}`, {
        cause,
      });
    }
  }

  /** Files go when the bucket has all of them; the newest stays. */
  async release(seq: number): Promise<void> {
    const done = this.#files.slice(0, -1).filter(({ endSeq }) => endSeq <= seq);
    this.#files = this.#files.filter((log) => !done.includes(log));
    for (const log of done) await discard(log);
  }

  /** The image was given back: the bucket has everything. */
  async remove(): Promise<void> {
    for (const log of this.#files.splice(0)) await discard(log);
  }

  /** What is in it stays, for `replayLog`. */
  async close(): Promise<void> {
    for (const { file } of this.#files.splice(0)) await file.close();
  }

  async #fileFor(seq: number): Promise<LogFile> {
    const newest = this.#files.at(-1);
    if (newest && newest.bytes < fileBytesMax) return newest;
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    const path = join(this.#folder, `${this.#epoch}-${String(seq).padStart(12, '0')}${suffix}`);
    const file = await open(path, 'ax', 0o600);
    const log = { path, file, bytes: headBytes, endSeq: seq };
    this.#files.push(log);
    await file.appendFile(encodeHead(this.#epoch));
    await syncFolder(this.#folder);
    await syncFolder(dirname(this.#folder));
    return log;
  }
}

async function discard({ path, file }: LogFile): Promise<void> {
  await file.close();
  await rm(path, { force: true });
}

/** A file that is there after a crash has to be in its folder. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function encodeHead(epoch: EpochId): Buffer {
  const head = Buffer.concat([magic, Buffer.from(epoch, 'hex'), Buffer.alloc(4)]);
  head.writeUInt32LE(crc32(head.subarray(0, -4)), headBytes - 4);
  return head;
}

function encodeRecord(seq: number, bytes: Uint8Array): Buffer {
  const record = Buffer.alloc(recordHeadBytes + bytes.length);
  record.writeUInt32LE(bytes.length, 0);
  record.writeBigUInt64LE(BigInt(seq), 8);
  record.set(bytes, recordHeadBytes);
  record.writeUInt32LE(crc32(record.subarray(8)), 4);
  return record;
}

/** Undefined: not a log, or torn before its first record could be. Ends where a record is torn. */
export function decodeLog(content: Buffer): LogContent | undefined {
  if (content.length < headBytes || !content.subarray(0, magic.length).equals(magic)) return undefined;
  if (crc32(content.subarray(0, headBytes - 4)) !== content.readUInt32LE(headBytes - 4)) return undefined;
  const records: LogRecord[] = [];
  for (let at = headBytes; at + recordHeadBytes <= content.length;) {
    const end = at + recordHeadBytes + content.readUInt32LE(at);
    if (end > content.length || crc32(content.subarray(at + 8, end)) !== content.readUInt32LE(at + 4)) break;
    records.push({ seq: Number(content.readBigUInt64LE(at + 8)), bytes: content.subarray(at + recordHeadBytes, end) });
    at = end;
  }
  return { epoch: parseEpochId(content.toString('hex', magic.length, magic.length + 8)), records };
}

export type Replayed = { segmentCount: number; orphans: Orphan[] };
/** A log whose epoch ended before the bucket had all of it. */
export type Orphan = { path: string; segmentCount: number; bytes: number };

/**
 * Brings what a crash left in the log to the bucket, before the image is attached again; to be called when its last writer here is
 * gone, or may be: the same bytes in the same slots harm nobody. What cannot be brought, since the epoch was ended elsewhere
 * meanwhile, is kept beside, and told.
 */
export async function replayLog(deps: ImageDeps, spec: ImageSpec, directory: string): Promise<Replayed> {
  const { value: header } = await openHeader(deps, spec);
  const folder = folderOf(directory, header.imageId);
  const names = (await readdir(folder).catch(() => [])).filter((name) => name.endsWith(suffix)).toSorted();
  const replayed: Replayed = { segmentCount: 0, orphans: [] };
  for (const name of names) {
    const path = join(folder, name);
    const log = decodeLog(await readFile(path));
    const missing = log ? await replayFile(deps, header, log) : [];
    replayed.segmentCount += (log?.records.length ?? 0) - missing.length;
    if (missing.length === 0) await rm(path, { force: true });
    else replayed.orphans.push(await keepOrphan(path, missing));
  }
  return replayed;
}

/** Those from the first that is not in its slot and cannot get there. */
async function replayFile(deps: ImageDeps, { imageId, journal }: Header, log: LogContent): Promise<LogRecord[]> {
  const isOpen = journal?.state === 'open' && journal.folded.epoch === log.epoch;
  const foldedSeq = journal ? foldedSeqOf(journal, log.epoch) : 0;
  for (const [index, { seq, bytes }] of log.records.entries()) {
    if (seq < foldedSeq) continue;
    const slot = { epoch: log.epoch, seq };
    const isThere =
      (isOpen && (await fillSlot(deps, imageId, slot, bytes))) || (await holdsBytes(deps, imageId, slot, bytes));
    if (!isThere) return log.records.slice(index);
  }
  return [];
}

/** What is folded was in its slots, whether or not collection took it since. */
const foldedSeqOf = ({ folded, past }: Journal, epoch: EpochId): number =>
  folded.epoch === epoch ? folded.seq : (past.find((one) => one.epoch === epoch)?.endSeq ?? 0);

async function keepOrphan(path: string, missing: readonly LogRecord[]): Promise<Orphan> {
  const kept = `${path}${orphanSuffix}`;
  await rename(path, kept);
  return { path: kept, segmentCount: missing.length, bytes: missing.reduce((sum, { bytes }) => sum + bytes.length, 0) };
}

export const orphanText = ({ path, segmentCount, bytes }: Orphan): string =>
  `${path}: ${segmentCount} segments (${bytes} bytes) that were flushed to this disk did not reach the bucket before the image was attached or promoted elsewhere. ` +
  'They are not part of the image any more. Keep the file if what was written last on this machine matters, else remove it.';
