// Owns the translation to a Cloudflare R2 binding. Facts it rests on: a refused conditional put answers null and does not
// throw; a get whose condition fails answers the object without a body; a range that begins past the end throws 10039; a
// page may be shorter than asked; about one write per second and key, faster ones get 10058. Tags are MD5 of the content.

import type { R2Bucket, R2Conditional, R2Object, R2ObjectBody, R2Objects } from '@cloudflare/workers-types';

import { type ErrorCode, FarsideError, type Retry } from '../errors.ts';
import type {
  ByteRange,
  Driver,
  Etag,
  GetOptions,
  GetOutcome,
  ListOptions,
  ListPage,
  ObjectMeta,
  PutCondition,
  PutOutcome,
} from './driver.ts';
import { checkDeleteBatch, checkKey, clampRange, pageLimit } from './rules.ts';

/** R2's error numbers, which end its messages in parentheses. Whatever is not here is taken for a passing fault. */
const faultOf: Record<number, { code: ErrorCode; retry: Retry }> = {
  10002: { code: 'EACCES', retry: 'never' }, // unauthorized
  10004: { code: 'EACCES', retry: 'never' }, // forbidden
  10006: { code: 'ENOENT', retry: 'never' }, // no such bucket
  10020: { code: 'EINVAL', retry: 'never' }, // invalid object name
  10012: { code: 'EFBIG', retry: 'never' }, // entity too large
  10025: { code: 'EINVAL', retry: 'never' }, // invalid argument
  10058: { code: 'EAGAIN', retry: 'later' }, // too many requests for this object
};
/** A range that begins past the end; 0 (unspecified) is what the emulator says when it begins right at the end. */
const noRangeNumbers: ReadonlySet<number | undefined> = new Set([10039, 0]);
/** Pages without a single key that a list follows before it gives up. */
const emptyPagesMax = 10;

export class R2Driver implements Driver {
  readonly kind = 'r2';
  readonly #bucket: R2Bucket;

  constructor(bucket: R2Bucket) {
    this.#bucket = bucket;
  }

  async get(key: string, options: GetOptions = {}): Promise<GetOutcome> {
    checkKey(key);
    if (options.range?.length === 0) return this.#getNothing(key, options.range, options.ifMatch);
    try {
      return await this.#getBody(key, options);
    } catch (error) {
      if (options.range && noRangeNumbers.has(numberOf(error)))
        return this.#getNothing(key, options.range, options.ifMatch, error);
      throw translated('get', key, error);
    }
  }

  async head(key: string): Promise<ObjectMeta | undefined> {
    checkKey(key);
    const object = await translating('head', key, () => this.#bucket.head(key));
    return object ? metaOf(object) : undefined;
  }

  async put(key: string, body: Uint8Array, condition: PutCondition): Promise<PutOutcome> {
    checkKey(key);
    const onlyIf = conditionalOf(condition);
    const object = await translating('put', key, () => this.#bucket.put(key, body, onlyIf && { onlyIf }));
    return object ? { status: 'stored', etag: object.etag } : { status: 'refused' };
  }

  async delete(keys: readonly string[]): Promise<void> {
    checkDeleteBatch(keys);
    keys.forEach(checkKey);
    if (keys.length > 0) await translating('delete', keys[0]!, () => this.#bucket.delete([...keys]));
  }

  async list({ prefix, after, limit }: ListOptions): Promise<ListPage> {
    const first = { prefix, limit: pageLimit(limit), ...(after !== undefined && { startAfter: after }) };
    let page = await translating('list', prefix, () => this.#bucket.list(first));
    for (let emptyCount = 0; page.truncated && page.objects.length === 0; emptyCount++) {
      if (emptyCount === emptyPagesMax)
        throw new FarsideError('EIO', `R2 lists '${prefix}' in empty pages`, { retry: 'later' });
      page = await this.#nextPage(page, first);
    }
    return { objects: page.objects.map(metaOf), more: page.truncated };
  }

  async #nextPage(
    page: R2Objects & { truncated: true },
    options: { prefix: string; limit: number },
  ): Promise<R2Objects> {
    const next = { prefix: options.prefix, limit: options.limit, cursor: page.cursor };
    return translating('list', options.prefix, () => this.#bucket.list(next));
  }

  async #getBody(key: string, { range, ifMatch }: GetOptions): Promise<GetOutcome> {
    const part = range && clampRange(range, Number.MAX_SAFE_INTEGER);
    const object: R2ObjectBody | R2Object | null = await this.#bucket.get(key, {
      ...(part && { range: part }),
      ...(ifMatch !== undefined && { onlyIf: { etagMatches: ifMatch } }),
    });
    if (!object) return { status: 'absent' };
    if (!('body' in object)) return { status: 'changed' };
    return { status: 'found', body: new Uint8Array(await object.arrayBuffer()), meta: metaOf(object) };
  }

  /** For a range that holds no byte, which R2 does not serve. If it does hold some after all, `error` had another reason. */
  async #getNothing(key: string, range: ByteRange, ifMatch: Etag | undefined, error?: unknown): Promise<GetOutcome> {
    const meta = await this.head(key);
    if (!meta) return { status: 'absent' };
    if (ifMatch !== undefined && ifMatch !== meta.etag) return { status: 'changed' };
    if (clampRange(range, meta.bytes).length > 0) throw translated('get', key, error);
    return { status: 'found', body: new Uint8Array(), meta };
  }
}

function metaOf(object: R2Object): ObjectMeta {
  return { key: object.key, bytes: object.size, etag: object.etag, uploadedAtMs: object.uploaded.getTime() };
}

function conditionalOf(condition: PutCondition): R2Conditional | undefined {
  if (condition === 'none') return undefined;
  return condition === 'absent' ? { etagDoesNotMatch: '*' } : { etagMatches: condition.etag satisfies Etag };
}

async function translating<T>(verb: string, key: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw translated(verb, key, error);
  }
}

function translated(verb: string, key: string, cause: unknown): unknown {
  if (cause instanceof FarsideError || cause instanceof TypeError) return cause;
  const { code, retry } = faultOf[numberOf(cause) ?? 0] ?? { code: 'EIO', retry: 'later' };
  const why = cause instanceof Error ? cause.message : String(cause);
  return new FarsideError(code, `R2 ${verb} '${key}': ${why}`, { retry, cause });
}

function numberOf(error: unknown): number | undefined {
  const match = error instanceof Error ? /\((\d{1,6})\)$/.exec(error.message) : null;
  return match ? Number(match[1]) : undefined;
}
