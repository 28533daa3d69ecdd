// Owns a bucket in this process's memory, for tests and the simulation. Every method does its work at once, before its first
// `await`, so whoever wraps it decides the order of events. Tags are the MD5 of the content, as with R2: equal content has
// an equal tag. It promises no durability and copies every body in and out.

import { createHash } from 'node:crypto';

import type { Clock } from '../clock.ts';
import type {
  Driver,
  GetOptions,
  GetOutcome,
  ListOptions,
  ListPage,
  ObjectMeta,
  PutCondition,
  PutOutcome,
} from './driver.ts';
import { checkDeleteBatch, checkKey, clampRange, pageLimit, positionOf } from './rules.ts';

type MemoryObject = { body: Uint8Array; meta: ObjectMeta };

export class MemoryDriver implements Driver {
  readonly kind = 'memory';
  readonly #clock: Clock;
  readonly #objects = new Map<string, MemoryObject>();
  /** The map's keys in list order. */
  readonly #sorted: string[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async get(key: string, options: GetOptions = {}): Promise<GetOutcome> {
    checkKey(key);
    const object = this.#objects.get(key);
    if (!object) return { status: 'absent' };
    if (options.ifMatch !== undefined && options.ifMatch !== object.meta.etag) return { status: 'changed' };
    const { offset, length } = options.range
      ? clampRange(options.range, object.body.length)
      : { offset: 0, length: object.body.length };
    return { status: 'found', body: object.body.slice(offset, offset + length), meta: { ...object.meta } };
  }

  async head(key: string): Promise<ObjectMeta | undefined> {
    checkKey(key);
    const object = this.#objects.get(key);
    return object && { ...object.meta };
  }

  async put(key: string, body: Uint8Array, condition: PutCondition): Promise<PutOutcome> {
    checkKey(key);
    const present = this.#objects.get(key);
    if (!holds(condition, present)) return { status: 'refused' };
    const etag = createHash('md5').update(body).digest('hex');
    const meta = { key, bytes: body.length, etag, uploadedAtMs: this.#clock.nowMs() };
    this.#objects.set(key, { body: new Uint8Array(body), meta });
    if (!present) this.#sorted.splice(positionOf(this.#sorted, key), 0, key);
    return { status: 'stored', etag };
  }

  async delete(keys: readonly string[]): Promise<void> {
    checkDeleteBatch(keys);
    for (const key of keys) {
      if (this.#objects.delete(key)) this.#sorted.splice(positionOf(this.#sorted, key), 1);
    }
  }

  async list({ prefix, after, limit }: ListOptions): Promise<ListPage> {
    const objects: ObjectMeta[] = [];
    const limitNow = pageLimit(limit);
    for (let index = this.#startOf(prefix, after); index < this.#sorted.length; index++) {
      const key = this.#sorted[index]!;
      if (!key.startsWith(prefix)) break;
      if (objects.length === limitNow) return { objects, more: true };
      objects.push({ ...this.#objects.get(key)!.meta });
    }
    return { objects, more: false };
  }

  #startOf(prefix: string, after: string | undefined): number {
    const first = positionOf(this.#sorted, prefix);
    if (after === undefined) return first;
    const position = positionOf(this.#sorted, after);
    return Math.max(first, this.#sorted[position] === after ? position + 1 : position);
  }
}

function holds(condition: PutCondition, present: MemoryObject | undefined): boolean {
  if (condition === 'none') return true;
  if (condition === 'absent') return present === undefined;
  return present !== undefined && present.meta.etag === condition.etag;
}
