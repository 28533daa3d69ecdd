// Owns what all kinds of object storage share: retries, the resolution of unclear puts, batching, paging and the count of
// requests. Callers use this class; drivers only translate.
//
// A put that fails with a passing fault is *unclear*: it may have landed, or may land yet. It is repeated with the same
// bytes and condition, which is safe because every put is conditional. If the repeat is refused, the object is read back:
//
//   this client                          the store
//   put (absent)  -> timeout             lands
//   put (absent)  -> refused             it is there already: by us, or by another?
//   get           -> bytes               equal to ours: the first attempt won; other bytes: another did
//
// What this does not promise: a put given up after the last retry may still land later.

import type { Clock } from '../clock.ts';
import { FarsideError } from '../errors.ts';
import type { Random } from '../random.ts';
import { backOff, faultBackoff, raceBackoff } from './backoff.ts';
import {
  type Driver,
  type Etag,
  type GetOptions,
  type GetOutcome,
  type ListOptions,
  type ListPage,
  type ObjectMeta,
  type PutCondition,
  type PutOutcome,
  requestClassOf,
  type StreamOutcome,
} from './driver.ts';
import { checkKey, deleteKeysMax, listLimitMax } from './rules.ts';

/** Repeats after the first attempt of any one request. */
export const retriesMax = 5;

/** Requests sent, repeats and refusals included, by price class; bytes read from (`In`) and written to (`Out`) the store. */
export type RequestCounts = { A: number; B: number; free: number; bytesIn: number; bytesOut: number };

/**
 * `unclear`: an attempt failed without an answer, and the object now holds other bytes. For a write-once key that is a
 * plain loss. A document may meanwhile have held our version and been changed again; `document.ts` tells these apart.
 */
type Loss = { unclear?: true };
export type CreateOutcome = { created: true; etag: Etag } | ({ created: false } & Loss);
export type ReplaceOutcome = { replaced: true; etag: Etag } | ({ replaced: false } & Loss);

type BucketDeps = { clock: Clock; random: Random };
type Settled = { won: true; etag: Etag } | { won: false; loss: Loss };

export class Bucket {
  readonly #driver: Driver;
  readonly #deps: BucketDeps;
  readonly #counts: RequestCounts = { A: 0, B: 0, free: 0, bytesIn: 0, bytesOut: 0 };

  constructor(driver: Driver, deps: BucketDeps) {
    this.#driver = driver;
    this.#deps = deps;
  }

  get kind(): string {
    return this.#driver.kind;
  }

  /** As the driver says: whether the memory of a body may be used again once its put has settled. */
  get freesBody(): boolean {
    return this.#driver.freesBody === true;
  }

  /** Cumulative; subtract two to measure. */
  counts(): RequestCounts {
    return { ...this.#counts };
  }

  async get(key: string, options?: GetOptions): Promise<GetOutcome> {
    checkKey(key);
    const outcome = await this.#request('get', () => this.#driver.get(key, options));
    if (outcome.status === 'found') this.#counts.bytesIn += outcome.body.length;
    return outcome;
  }

  /** The whole object for one who passes it on: as a stream where the driver has them, which must be read or cancelled. */
  async stream(key: string): Promise<StreamOutcome | GetOutcome> {
    checkKey(key);
    const send = async (): Promise<StreamOutcome | GetOutcome> =>
      (await this.#driver.stream?.(key)) ?? this.#driver.get(key);
    const outcome = await this.#request('stream', send);
    if (outcome.status === 'found') this.#counts.bytesIn += outcome.meta.bytes;
    return outcome;
  }

  /** Undefined: this kind of store has no such URLs. The one request that it is for counts as sent. */
  async presignGet(key: string, expiresSeconds: number): Promise<string | undefined> {
    checkKey(key);
    const url = await this.#driver.presignGet?.(key, expiresSeconds);
    if (url !== undefined) this.#counts.B += 1;
    return url;
  }

  async head(key: string): Promise<ObjectMeta | undefined> {
    checkKey(key);
    return this.#request('head', () => this.#driver.head(key));
  }

  /** Put-if-absent. `body` must not be changed until this settles. ETIMEDOUT when the outcome stays unclear. */
  async create(key: string, body: Uint8Array): Promise<CreateOutcome> {
    const settled = await this.#putAndSettle(key, body, 'absent');
    return settled.won ? { created: true, etag: settled.etag } : { created: false, ...settled.loss };
  }

  /** Compare-and-swap. `body` must differ from every earlier version (documents hold a random write id). */
  async replace(key: string, body: Uint8Array, etag: Etag): Promise<ReplaceOutcome> {
    const settled = await this.#putAndSettle(key, body, { etag });
    return settled.won ? { replaced: true, etag: settled.etag } : { replaced: false, ...settled.loss };
  }

  /** Any number of keys, absent ones too. After a failure some may be gone. */
  async delete(keys: readonly string[]): Promise<void> {
    keys.forEach(checkKey);
    for (let index = 0; index < keys.length; index += deleteKeysMax) {
      const batch = keys.slice(index, index + deleteKeysMax);
      await this.#request('delete', () => this.#driver.delete(batch));
    }
  }

  /** One page. */
  async list(options: ListOptions): Promise<ListPage> {
    return this.#request('list', () => this.#driver.list(options));
  }

  /** Every object under `prefix` whose key is greater than `after`, in order. Objects put meanwhile may or may not appear. */
  async *listAll(prefix: string, after?: string): AsyncGenerator<ObjectMeta> {
    for (let last = after; ;) {
      const page = await this.list({ prefix, after: last, limit: listLimitMax });
      yield* page.objects;
      if (!page.more) return;
      last = page.objects.at(-1)?.key;
      if (last === undefined)
        throw new FarsideError('EIO', `the ${this.kind} store lists '${prefix}' as unfinished but sends no keys`);
    }
  }

  async #putAndSettle(key: string, body: Uint8Array, condition: PutCondition): Promise<Settled> {
    checkKey(key);
    let attempts = 0;
    const outcome = await this.#request('put', () => {
      attempts += 1;
      this.#counts.bytesOut += body.length;
      return this.#driver.put(key, body, condition);
    });
    if (outcome.status === 'stored') return { won: true, etag: outcome.etag };
    return attempts === 1 ? { won: false, loss: {} } : this.#readBack(key, body);
  }

  async #readBack(key: string, body: Uint8Array): Promise<Settled> {
    const found = await this.get(key).catch((cause: unknown) => {
      throw unclearPut(key, 'it cannot be read back', cause);
    });
    if (found.status !== 'found') throw unclearPut(key, 'it is gone again');
    if (Buffer.compare(found.body, body) === 0) return { won: true, etag: found.meta.etag };
    return { won: false, loss: { unclear: true } };
  }

  /** One request and its repeats. */
  async #request<Outcome extends GetOutcome | StreamOutcome | PutOutcome | ListPage | ObjectMeta | undefined | void>(
    method: keyof typeof requestClassOf,
    send: () => Promise<Outcome>,
  ): Promise<Outcome> {
    for (let repeatIndex = 0; ; repeatIndex++) {
      this.#counts[requestClassOf[method]] += 1;
      try {
        return await send();
      } catch (error) {
        if (!(error instanceof FarsideError) || error.retry === 'never' || repeatIndex === retriesMax) throw error;
        await backOff(error.retry === 'now' ? raceBackoff : faultBackoff, repeatIndex, this.#deps);
      }
    }
  }
}

function unclearPut(key: string, why: string, cause?: unknown): FarsideError {
  const message = `the outcome of writing '${key}' is unclear: an attempt had no answer and ${why}; read the object before writing again`;
  return new FarsideError('ETIMEDOUT', message, { retry: 'later', cause });
}
