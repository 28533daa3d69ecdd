// Owns a bucket in a directory of this machine, shared by any number of processes, each of which may die at any moment.
//
//   objects/    the objects, one file each (file-path.ts, file-object.ts); a file there is whole, always
//   temporary/  files being written; what a killed process leaves here is ignored, and swept when a day old
//   lock        excludes replaces and deletes from one another (file-lock.ts)
//
// Every put writes and syncs a temporary file first, then gives it its name in one step, then syncs the directory:
// - put-if-absent links it, which the kernel refuses if the name exists. No lock.
// - compare-and-swap holds the lock, compares the tag, and renames it over the old file. Only lock holders replace or
//   remove a name, and a create cannot touch one that exists, so the tag compared is the tag replaced:
//
//     writer A (replace)          writer B (replace)         writer C (create)
//     lock                        waits                      link -> EEXIST, refused
//     tag equal; rename; unlock
//                                 lock; tag differs; refused
//
// Readers open the file once and so see one version, whatever happens to the name. An object may be read shortly before it
// would survive a power failure; `stored` is answered after. One machine only: no promise over network file systems.

import fs from 'node:fs';
import path from 'node:path';

import { type Clock, systemClock } from '../clock.ts';
import { FarsideError } from '../errors.ts';
import { type Random, systemRandom } from '../random.ts';
import type {
  Driver,
  Etag,
  GetOptions,
  GetOutcome,
  ListOptions,
  ListPage,
  ObjectMeta,
  PutCondition,
  PutOutcome,
  StreamOutcome,
} from './driver.ts';
import { translatedFault, translatingFaults } from './file-faults.ts';
import { FileLock } from './file-lock.ts';
import {
  type FileMeta,
  readObjectFile,
  readObjectMeta,
  readObjectRange,
  tagBytes,
  tagOf,
  writeObjectFile,
} from './file-object.ts';
import { streamFile } from './file-stream.ts';
import { FileTree, ifPresent } from './file-tree.ts';
import { checkDeleteBatch, checkKey, pageLimit } from './rules.ts';

const temporaryAgeMaxMs = 24 * 60 * 60 * 1000;
/** How often a create makes its directory again because a delete removed it, empty, in between. */
const directoryRacesMax = 20;

type FileDeps = { clock: Clock; random: Random };

export class FileDriver implements Driver {
  readonly kind = 'file';
  readonly freesBody = true;
  readonly #temporary: string;
  readonly #tree: FileTree;
  readonly #lock: FileLock;
  readonly #deps: FileDeps;

  /** Makes the directory if need be: its owner's alone, since disks are in it. */
  constructor(directory: string, deps: FileDeps = { clock: systemClock, random: systemRandom }) {
    const objects = path.resolve(directory, 'objects');
    this.#temporary = path.resolve(directory, 'temporary');
    this.#tree = new FileTree(objects);
    this.#lock = new FileLock(path.resolve(directory, 'lock'));
    this.#deps = deps;
    try {
      makeDurableDirectory(objects);
      makeDurableDirectory(this.#temporary);
      this.#sweepTemporary();
    } catch (error) {
      throw translatedFault(directory, error);
    }
  }

  get(key: string, options: GetOptions = {}): Promise<GetOutcome> {
    return translatingFaults(key, async () => {
      const file = this.#open(key);
      if (file === undefined) return { status: 'absent' };
      try {
        return await readOpen(file, key, options);
      } finally {
        fs.closeSync(file);
      }
    });
  }

  stream(key: string): Promise<StreamOutcome> {
    return translatingFaults(key, async () => {
      const file = this.#open(key);
      if (file === undefined) return { status: 'absent' };
      try {
        const meta = { key, ...readObjectMeta(file, key) };
        return { status: 'found', meta, body: streamFile(file, key, meta.bytes) };
      } catch (error) {
        fs.closeSync(file);
        throw error;
      }
    });
  }

  head(key: string): Promise<ObjectMeta | undefined> {
    return translatingFaults(key, async () => {
      checkKey(key);
      const meta = metaAt(this.#tree.pathOf(key), key);
      return meta && { key, ...meta };
    });
  }

  put(key: string, body: Uint8Array, condition: PutCondition): Promise<PutOutcome> {
    return translatingFaults(key, async () => {
      checkKey(key);
      const target = this.#tree.pathOf(key);
      if (!holds(condition, target, key)) return { status: 'refused' }; // before writing: a lost race should cost little
      const temporary = path.join(this.#temporary, this.#deps.random.uuid());
      const tag = this.#deps.random.bytes(tagBytes);
      try {
        await writeObjectFile(temporary, body, { tag, nowMs: this.#deps.clock.nowMs() });
        const isPublished =
          condition === 'absent' ? link(temporary, target) : this.#replace(temporary, { target, key, condition });
        if (!isPublished) return { status: 'refused' };
      } finally {
        fs.rmSync(temporary, { force: true });
      }
      await this.#tree.sync(path.dirname(target));
      return { status: 'stored', etag: tagOf(tag) };
    });
  }

  delete(keys: readonly string[]): Promise<void> {
    return translatingFaults(keys[0] ?? '', async () => {
      checkDeleteBatch(keys);
      keys.forEach(checkKey);
      const changed = this.#lock.hold(() => this.#unlink(keys.map((key) => this.#tree.pathOf(key))));
      for (const directory of changed) await this.#tree.sync(directory);
    });
  }

  list({ prefix, after, limit }: ListOptions): Promise<ListPage> {
    return translatingFaults(prefix, async () => {
      const objects: ObjectMeta[] = [];
      const limitNow = pageLimit(limit);
      for (const { key, path: target } of this.#tree.walk(prefix, after)) {
        const meta = metaAt(target, key);
        if (!meta) continue;
        if (objects.length === limitNow) return { objects, more: true };
        objects.push({ key, ...meta });
      }
      return { objects, more: false };
    });
  }

  #open(key: string): number | undefined {
    checkKey(key);
    return ifPresent(() => fs.openSync(this.#tree.pathOf(key), 'r'));
  }

  #replace(
    temporary: string,
    { target, key, condition }: { target: string; key: string; condition: PutCondition },
  ): boolean {
    return this.#lock.hold(() => {
      if (!holds(condition, target, key)) return false;
      fs.mkdirSync(path.dirname(target), { recursive: true }); // missing only without a condition
      fs.renameSync(temporary, target);
      return true;
    });
  }

  /** Removes files and the directories that this leaves empty; answers the directories that have changed. */
  #unlink(targets: readonly string[]): Set<string> {
    const removed = targets.filter(unlinkIfPresent);
    const directories = new Set(removed.map((target) => path.dirname(target)));
    return new Set([...directories].map((directory) => this.#tree.prune(directory)));
  }

  #sweepTemporary(): void {
    const oldestMs = this.#deps.clock.nowMs() - temporaryAgeMaxMs;
    for (const name of fs.readdirSync(this.#temporary)) {
      const file = path.join(this.#temporary, name);
      const status = fs.statSync(file, { throwIfNoEntry: false });
      if (status && status.mtimeMs < oldestMs) fs.rmSync(file, { force: true });
    }
  }
}

async function readOpen(file: number, key: string, { range, ifMatch, room }: GetOptions): Promise<GetOutcome> {
  if (range === undefined && ifMatch === undefined) {
    const { meta, body } = await readObjectFile(file, key);
    return { status: 'found', body, meta: { key, ...meta } };
  }
  const meta = readObjectMeta(file, key);
  if (ifMatch !== undefined && ifMatch !== meta.etag) return { status: 'changed' };
  const body = await readObjectRange(file, meta, range ?? { offset: 0, length: meta.bytes }, room);
  return { status: 'found', body, meta: { key, ...meta } };
}

function metaAt(target: string, key: string): FileMeta | undefined {
  const file = ifPresent(() => fs.openSync(target, 'r'));
  if (file === undefined) return undefined;
  try {
    return readObjectMeta(file, key);
  } finally {
    fs.closeSync(file);
  }
}

function holds(condition: PutCondition, target: string, key: string): boolean {
  if (condition === 'none') return true;
  if (condition === 'absent') return !fs.existsSync(target);
  const etag: Etag | undefined = metaAt(target, key)?.etag;
  return etag === condition.etag;
}

/** Gives `temporary` the name `target` too, unless that exists: then false. */
function link(temporary: string, target: string): boolean {
  for (let raceCount = 0; raceCount < directoryRacesMax; raceCount++) {
    try {
      fs.linkSync(temporary, target);
      return true;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EEXIST') return false;
      if (code !== 'ENOENT') throw error;
      fs.mkdirSync(path.dirname(target), { recursive: true });
    }
  }
  throw new FarsideError(
    'EAGAIN',
    `cannot name '${target}': its directory or temporary file is removed again and again`,
    { retry: 'later' },
  );
}

function unlinkIfPresent(target: string): boolean {
  const unlinked = ifPresent(() => {
    fs.unlinkSync(target);
    return true;
  });
  return unlinked ?? false;
}

/** Makes a directory with its parents, for its owner only, and waits until each is linked in the one above. */
function makeDurableDirectory(directory: string): void {
  const firstMade = fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
  if (firstMade === undefined) return;
  for (let current = directory; current.length >= firstMade.length; current = path.dirname(current)) {
    const parent = fs.openSync(path.dirname(current), 'r');
    fs.fsyncSync(parent);
    fs.closeSync(parent);
  }
}
