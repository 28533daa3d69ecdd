// Owns blocks that are kept on a local disk, behind the memory of an image in use, and outlive the process. A pack's id commits to
// its content, so a block is never out of date, and images may share a folder. Only a cache: whatever goes wrong with the disk is a
// block that is not there.
//
// One file for each block, under its name: SHA-256 of name and content, then the content. What was torn by a crash, or damaged since,
// does not match and is removed. Bounded by bytes: what was used longest ago goes first. Over a restart that
// is told by the files' times, which are set when a block is used for the first time in a while. A folder that several processes
// use at once holds as much as each of them may; nothing else comes of it.
//
// The digest tells damage, not malice: whoever can write to the folder can change what is read of an image. A folder that others may
// write to is therefore told of.
//
// (cacache keeps two files for each entry, appends to its index, and bounds nothing by itself: it would have to be walked whole.)

import { createHash } from 'node:crypto';
import type { Stats } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LRUCache } from 'lru-cache';
import pLimit from 'p-limit';
import type { BlockStore } from '../attach/read-cache.ts';
import type { Clock } from '../clock.ts';
import { FarsideError } from '../errors.ts';

const digestBytes = 32;
/** A file counts for whole ones: small files take more of a disk than their bytes, and about 200 bytes of memory each. */
const clusterBytes = 16 * 1024;
/** Blocks that wait to be written: 4 MiB. More are not kept. */
const waitingMax = 64;
const writesAtOnce = 4;
/** Each is an open file, and a block in memory. */
const readsAtOnce = 16;
const looksAtOnce = 16;
/** A file's time is not set again before that. */
const touchEveryMs = 10 * 60 * 1000;
/** A file that is not renamed by then never will be: its process died. */
const leftOverMs = 60 * 60 * 1000;

type Kept = { bytes: number; usedAtMs: number };
type Found = Kept & { name: string };

export class DiskCache implements BlockStore {
  readonly #folder: string;
  readonly #clock: Clock;
  readonly #bytesMax: number;
  readonly #files: LRUCache<string, Kept>;
  readonly #writing = pLimit(writesAtOnce);
  readonly #reading = pLimit(readsAtOnce);
  readonly #note: (line: string) => void;
  #serial = 0;
  #hasFailed = false;
  /** Settles when what an earlier process left counts too. */
  readonly ready: Promise<void>;

  /** EINVAL: the folder cannot be used. */
  static async open(
    folder: string,
    options: { bytesMax: number; clock: Clock; note: (line: string) => void },
  ): Promise<DiskCache> {
    try {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      await readdir(folder);
      if (isOpenToOthers(await stat(folder)))
        options.note(`farside: others may write to ${folder}, and so change what is read: chmod 700 ${folder}`);
    } catch (cause) {
      throw new FarsideError('EINVAL', `${folder} cannot be a cache: ${(cause as Error).message}`, { cause });
    }
    return new DiskCache(folder, options);
  }

  private constructor(
    folder: string,
    { bytesMax, clock, note }: { bytesMax: number; clock: Clock; note: (line: string) => void },
  ) {
    this.#folder = folder;
    this.#clock = clock;
    this.#note = note;
    this.#bytesMax = Math.max(1, bytesMax);
    this.#files = new LRUCache<string, Kept>({
      maxSize: this.#bytesMax,
      sizeCalculation: ({ bytes }) => bytes,
      dispose: (_, name, why) => {
        if (why !== 'set') this.#remove(name);
      },
    });
    this.ready = this.#findOld().catch((error: unknown) => this.#failed(error));
  }

  get usedBytes(): number {
    return this.#files.calculatedSize;
  }

  async get(packId: string, entry: number): Promise<Uint8Array | undefined> {
    const name = nameOf(packId, entry);
    const content = await this.#reading(() => readFile(this.#pathOf(name))).catch(() => undefined);
    if (content === undefined) return void this.#files.delete(name);
    const raw = content.subarray(digestBytes);
    if (!digestOf(name, raw).equals(content.subarray(0, digestBytes))) {
      if (!this.#files.delete(name)) this.#remove(name);
      return undefined;
    }
    this.#used(name, content.length);
    return raw;
  }

  /** Some time later, or not at all. `raw` may change once this has returned. */
  put(packId: string, entry: number, raw: Uint8Array): void {
    const name = nameOf(packId, entry);
    if (spaceOf(digestBytes + raw.length) > this.#bytesMax) return;
    if (this.#files.has(name) || this.#writing.pendingCount >= waitingMax) return;
    const content = Buffer.concat([digestOf(name, raw), raw]);
    void this.#writing(() => this.#write(name, content)).catch((error: unknown) => this.#failed(error));
  }

  /** Everything that was put is there. */
  async settled(): Promise<void> {
    await this.ready;
    while (this.#writing.activeCount + this.#writing.pendingCount > 0) await this.#clock.sleep(1);
  }

  async #write(name: string, content: Buffer): Promise<void> {
    const path = this.#pathOf(name);
    const unfinished = `${path}.${process.pid}-${this.#serial++}.new`;
    await mkdir(join(this.#folder, folderOf(name)), { recursive: true, mode: 0o700 });
    try {
      await writeFile(unfinished, content, { flag: 'wx', mode: 0o600 });
      await rename(unfinished, path);
    } catch (error) {
      await rm(unfinished, { force: true });
      throw error;
    }
    this.#files.set(name, { bytes: spaceOf(content.length), usedAtMs: this.#clock.nowMs() });
  }

  #used(name: string, bytes: number): void {
    const nowMs = this.#clock.nowMs();
    const known = this.#files.get(name);
    if (known && nowMs - known.usedAtMs < touchEveryMs) return;
    this.#files.set(name, { bytes: spaceOf(bytes), usedAtMs: nowMs });
    utimes(this.#pathOf(name), nowMs / 1000, nowMs / 1000).catch(() => {});
  }

  #remove(name: string): void {
    rm(this.#pathOf(name), { force: true }).catch(() => {});
  }

  /** What an earlier process left, behind what this one has used meanwhile: as much as there is room for. */
  async #findOld(): Promise<void> {
    const found: Found[] = [];
    const limit = pLimit(looksAtOnce);
    for (const folder of (await readdir(this.#folder)).filter((one) => /^[0-9a-f]{2}$/.test(one))) {
      const names = await readdir(join(this.#folder, folder)).catch(() => []);
      await Promise.all(names.map((name) => limit(() => this.#look(join(this.#folder, folder, name), name, found))));
    }
    const usedMeanwhile = [...this.#files.rkeys()];
    for (const { name, ...kept } of this.#fitting(found)) this.#files.set(name, kept);
    for (const name of usedMeanwhile) this.#files.get(name);
  }

  /** Those for which there is no room are removed: used longest ago first. The answer begins with them. */
  #fitting(found: readonly Found[]): Found[] {
    const fitting: Found[] = [];
    let leftBytes = this.#bytesMax - this.#files.calculatedSize;
    for (const one of found.toSorted((a, b) => b.usedAtMs - a.usedAtMs)) {
      if (this.#files.has(one.name)) continue;
      if (one.bytes > leftBytes) {
        this.#remove(one.name);
        continue;
      }
      leftBytes -= one.bytes;
      fitting.push(one);
    }
    return fitting.toReversed();
  }

  async #look(path: string, name: string, found: Found[]): Promise<void> {
    const known = await stat(path).catch(() => undefined);
    if (known === undefined) return;
    if (namePattern.test(name)) found.push({ name, bytes: spaceOf(known.size), usedAtMs: known.mtimeMs });
    else if (unfinishedPattern.test(name) && this.#clock.nowMs() - known.mtimeMs > leftOverMs)
      await rm(path, { force: true });
  }

  #failed(error: unknown): void {
    if (this.#hasFailed) return;
    this.#hasFailed = true;
    this.#note(`farside: the cache in ${this.#folder} does not keep everything: ${(error as Error).message}`);
  }

  #pathOf(name: string): string {
    return join(this.#folder, folderOf(name), name);
  }
}

const nameOf = (packId: string, entry: number): string => `${packId}-${entry}`;
const namePattern = /^[0-9a-f]{32}-\d+$/;
const unfinishedPattern = /^[0-9a-f]{32}-\d+\.\d+-\d+\.new$/;
const folderOf = (name: string): string => name.slice(0, 2);
const isOpenToOthers = ({ mode, uid }: Stats): boolean =>
  (mode & 0o022) !== 0 || ![0, process.getuid?.()].includes(uid);
const spaceOf = (bytes: number): number => Math.ceil(bytes / clusterBytes) * clusterBytes;

const digestOf = (name: string, raw: Uint8Array): Buffer => createHash('sha256').update(name).update(raw).digest();
