// Owns what one site object remembers for a few seconds: pool documents, authorisations, which image has which global id.
// A remembered answer may be up to `cacheMs` old, so it may only save work or stand for something that is checked again
// where it matters (a header's compare-and-swap). Values are remembered, never promises: an invocation that died in the
// middle of a read must not hang the next one.

import type { Bucket } from '../bucket/bucket.ts';
import type { DocumentDeps } from './limits.ts';

const entriesMax = 4096;

type Entry = { atMs: number; value: unknown };
const memories = new WeakMap<Bucket, Map<string, Entry>>();

function memoryOf(bucket: Bucket): Map<string, Entry> {
  let memory = memories.get(bucket);
  if (!memory) memories.set(bucket, (memory = new Map()));
  return memory;
}

/** The value loaded under `key` at most `cacheMs` ago, or a new one. An absent (undefined) value is not remembered. */
export async function recent<T>(deps: DocumentDeps, key: string, load: () => Promise<T>): Promise<T> {
  const entry = memoryOf(deps.bucket).get(key);
  const ageMs = entry ? deps.clock.nowMs() - entry.atMs : Infinity;
  if (entry && ageMs >= 0 && ageMs < deps.limits.cacheMs) return entry.value as T;
  const value = await load();
  if (value !== undefined) remember(deps, key, value);
  return value;
}

export function remember(deps: DocumentDeps, key: string, value: unknown): void {
  const memory = memoryOf(deps.bucket);
  memory.delete(key);
  memory.set(key, { atMs: deps.clock.nowMs(), value });
  if (memory.size <= entriesMax) return;
  for (const oldest of memory.keys()) {
    memory.delete(oldest);
    break;
  }
}

/** What was remembered, however old: for hints. */
export const recall = (deps: DocumentDeps, key: string): unknown => memoryOf(deps.bucket).get(key)?.value;

export function forget(deps: DocumentDeps, key: string): void {
  memoryOf(deps.bucket).delete(key);
}
