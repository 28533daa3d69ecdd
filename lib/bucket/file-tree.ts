// Owns the directories below a FileDriver's `objects`: making, removing, listing, and making them last through a power
// failure. Others may add and remove entries at any moment; what is gone by the time it is looked at is skipped.

import fs from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';

import { fromByteString, parseEntry, pathOfKey, pathOfPrefix, toByteString, type Entry } from './file-path.ts';

const fsync = promisify(fs.fsync);

type Bounds = { prefix: string; after: string | undefined };

export class FileTree {
  readonly #root: string;
  /** Directories known to be linked durably in their parents, by path; a directory made anew has another identity. */
  readonly #durable = new Map<string, string>();

  constructor(root: string) {
    this.#root = root;
  }

  pathOf(key: string): string {
    return path.join(this.#root, ...pathOfKey(key));
  }

  /** Waits until the entries of `directory` are on the disk, and those that lead to it too. */
  async sync(directory: string): Promise<void> {
    const identity = await syncDirectory(directory);
    if (identity === undefined || this.#durable.get(directory) === identity) return;
    if (directory !== this.#root) await this.sync(path.dirname(directory));
    this.#durable.set(directory, identity);
  }

  /** Removes `directory` if it is empty, then its parent and so on; answers the first one that stays. */
  prune(directory: string): string {
    let current = directory;
    while (current !== this.#root && removeIfEmpty(current)) {
      this.#durable.delete(current);
      current = path.dirname(current);
    }
    return current;
  }

  /** Objects' files in order of key. */
  *walk(prefix: string, after: string | undefined): Generator<{ key: string; path: string }> {
    const { names, text } = pathOfPrefix(prefix);
    const bounds = { prefix: toByteString(prefix), after: after === undefined ? undefined : toByteString(after) };
    yield* this.#walkDirectory(path.join(this.#root, ...names), text, bounds);
  }

  *#walkDirectory(directory: string, text: string, bounds: Bounds): Generator<{ key: string; path: string }> {
    for (const entry of entriesOf(directory, text, bounds)) {
      const entryPath = path.join(directory, entry.name);
      const entryText = text + entry.text;
      if (entry.isFile) yield { key: fromByteString(entryText), path: entryPath };
      else yield* this.#walkDirectory(entryPath, entryText, bounds);
    }
  }
}

function entriesOf(directory: string, text: string, bounds: Bounds): Entry[] {
  const entries: Entry[] = [];
  for (const name of namesIn(directory)) {
    const entry = parseEntry(name);
    if (entry && isWithin(bounds, text + entry.text, entry.isFile)) entries.push(entry);
  }
  return entries.sort((a, b) => (a.text < b.text ? -1 : 1));
}

/** Whether the key `text`, or any key that begins with it if it is a directory's, is wanted. */
function isWithin({ prefix, after }: Bounds, text: string, isFile: boolean): boolean {
  if (isFile) return text.startsWith(prefix) && (after === undefined || text > after);
  if (!text.startsWith(prefix) && !prefix.startsWith(text)) return false;
  return after === undefined || text > after || after.startsWith(text);
}

function namesIn(directory: string): string[] {
  return ifPresent(() => fs.readdirSync(directory)) ?? [];
}

/** Identity of the directory, or undefined when it is gone. */
async function syncDirectory(directory: string): Promise<string | undefined> {
  const file = ifPresent(() => fs.openSync(directory, 'r'));
  if (file === undefined) return undefined;
  try {
    await fsync(file);
    const { ino, birthtimeNs } = fs.fstatSync(file, { bigint: true });
    return `${ino}-${birthtimeNs}`;
  } finally {
    fs.closeSync(file);
  }
}

function removeIfEmpty(directory: string): boolean {
  try {
    fs.rmdirSync(directory);
    return true;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT') return true;
    if (code === 'ENOTEMPTY' || code === 'EEXIST') return false;
    throw error;
  }
}

/** The result of `work`, or undefined when its path does not exist. */
export function ifPresent<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
