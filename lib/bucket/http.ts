// Owns a bucket reached through the store endpoint of a site. It translates between calls and HTTP (http-protocol.ts) and
// repeats nothing itself. A request without an answer is a passing fault; `Bucket` knows what that means for a put.

import { z } from 'zod';

import { type ErrorCode, errnoOf, FarsideError, type Retry } from '../errors.ts';
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
} from './driver.ts';
import {
  bytesHeader,
  errorSchema,
  formatRange,
  formatTag,
  listPageSchema,
  parseTag,
  storeDeletePath,
  storePath,
  uploadedHeader,
} from './http-protocol.ts';
import { checkDeleteBatch, checkKey, clampRange, pageLimit } from './rules.ts';

/** A whole request: 32 MiB in this time is about 2 Mbit/s. */
const requestTimeoutMs = 120_000;

export type HttpDriverOptions = {
  /** Of the site, without a path. */
  url: string;
  token: string;
  fetch: typeof fetch;
};

type Answer = { status: number; headers: Headers; body: Uint8Array };
type Call = { method: string; path: string; headers?: Record<string, string>; body?: Uint8Array | string };

export class HttpDriver implements Driver {
  readonly kind = 'http';
  readonly #url: string;
  readonly #token: string;
  readonly #fetch: typeof fetch;

  constructor({ url, token, fetch }: HttpDriverOptions) {
    this.#url = url.replace(/\/+$/, '');
    this.#token = token;
    this.#fetch = fetch;
  }

  async get(key: string, { range, ifMatch }: GetOptions = {}): Promise<GetOutcome> {
    checkKey(key);
    const part = range && clampRange(range, Number.MAX_SAFE_INTEGER);
    const answer = await this.#send({
      method: part?.length === 0 ? 'HEAD' : 'GET', // HTTP has no range of no bytes
      path: pathOf(key),
      headers: {
        ...(part && part.length > 0 && { range: formatRange(part) }),
        ...(ifMatch !== undefined && { 'if-match': formatTag(ifMatch) }),
      },
    });
    if (answer.status === 404) return { status: 'absent' };
    if (answer.status === 412) return { status: 'changed' };
    if (answer.status === 416) return { status: 'found', body: new Uint8Array(), meta: metaOf(key, answer) };
    if (answer.status !== 200 && answer.status !== 206) throw faultOf(`get '${key}'`, answer);
    return { status: 'found', body: answer.body, meta: metaOf(key, answer) };
  }

  async head(key: string): Promise<ObjectMeta | undefined> {
    checkKey(key);
    const answer = await this.#send({ method: 'HEAD', path: pathOf(key) });
    if (answer.status === 404) return undefined;
    if (answer.status !== 200) throw faultOf(`head '${key}'`, answer);
    return metaOf(key, answer);
  }

  async put(key: string, body: Uint8Array, condition: PutCondition): Promise<PutOutcome> {
    checkKey(key);
    const headers = { 'content-type': 'application/octet-stream', ...conditionHeaders(condition) };
    const answer = await this.#send({ method: 'PUT', path: pathOf(key), headers, body });
    if (answer.status === 412) return { status: 'refused' };
    if (answer.status !== 200) throw faultOf(`put '${key}'`, answer);
    return { status: 'stored', etag: etagOf(answer) };
  }

  async delete(keys: readonly string[]): Promise<void> {
    checkDeleteBatch(keys);
    keys.forEach(checkKey);
    const headers = { 'content-type': 'application/json' };
    const answer = await this.#send({ method: 'POST', path: storeDeletePath, headers, body: JSON.stringify({ keys }) });
    if (answer.status !== 204) throw faultOf(`delete of ${keys.length} keys`, answer);
  }

  async list({ prefix, after, limit }: ListOptions): Promise<ListPage> {
    const query = new URLSearchParams({
      prefix,
      limit: String(pageLimit(limit)),
      ...(after !== undefined && { after }),
    });
    const answer = await this.#send({ method: 'GET', path: `${storePath}?${query}` });
    if (answer.status !== 200) throw faultOf(`list '${prefix}'`, answer);
    const page = listPageSchema.safeParse(jsonOf(answer));
    if (!page.success) throw foreign(`list '${prefix}': ${z.prettifyError(page.error)}`);
    return page.data;
  }

  async #send({ method, path, headers = {}, body }: Call): Promise<Answer> {
    try {
      const fetchNow = this.#fetch; // called without `this`, which workerd's fetch refuses to have
      const response = await fetchNow(this.#url + path, {
        method,
        headers: { ...headers, authorization: `Bearer ${this.#token}` },
        signal: AbortSignal.timeout(requestTimeoutMs),
        ...(body !== undefined && { body: body as string | Uint8Array<ArrayBuffer> }),
      });
      return { status: response.status, headers: response.headers, body: new Uint8Array(await response.arrayBuffer()) };
    } catch (cause) {
      throw new FarsideError(codeOfLoss(cause), `no answer from ${this.#url}: ${reasonOf(cause)}`, {
        retry: 'later',
        cause,
      });
    }
  }
}

const pathOf = (key: string): string => `${storePath}/${encodeURIComponent(key)}`;

function conditionHeaders(condition: PutCondition): Record<string, string> {
  if (condition === 'none') return {};
  return condition === 'absent' ? { 'if-none-match': '*' } : { 'if-match': formatTag(condition.etag) };
}

function etagOf({ headers }: Answer): Etag {
  const etag = parseTag(headers.get('etag') ?? '');
  if (etag === undefined) throw foreign('an answer has no tag');
  return etag;
}

function metaOf(key: string, answer: Answer): ObjectMeta {
  const bytes = Number(answer.headers.get(bytesHeader) ?? Number.NaN);
  const uploadedAtMs = Number(answer.headers.get(uploadedHeader) ?? Number.NaN);
  if (Number.isNaN(bytes) || Number.isNaN(uploadedAtMs)) throw foreign(`'${key}' comes without its size and time`);
  return { key, bytes, etag: etagOf(answer), uploadedAtMs };
}

function jsonOf({ body }: Answer): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(body));
  } catch {
    return undefined;
  }
}

/** An answer that no store endpoint gives: most likely the URL is of something else. */
function foreign(what: string): FarsideError {
  return new FarsideError('EBADMSG', `unexpected answer from the site: ${what}; check its URL`);
}

const faultOfStatus: Record<number, { code: ErrorCode; retry: Retry }> = {
  400: { code: 'EINVAL', retry: 'never' },
  401: { code: 'EACCES', retry: 'never' },
  403: { code: 'EACCES', retry: 'never' },
  409: { code: 'EAGAIN', retry: 'now' },
  413: { code: 'EFBIG', retry: 'never' },
  429: { code: 'EAGAIN', retry: 'later' },
};

function faultOf(what: string, answer: Answer): FarsideError {
  const said = errorSchema.safeParse(jsonOf(answer)).data?.error;
  const isSites = said !== undefined && Object.hasOwn(errnoOf, said.code);
  const message = `${what}: ${said?.message ?? `the site answers ${answer.status}`}`;
  const bare = faultOfStatus[answer.status] ?? { code: 'EIO', retry: answer.status >= 500 ? 'later' : 'never' };
  // A site says 503 for what may pass, so its own 500 will not; a 500 from something in between may.
  const retry = isSites && answer.status === 500 ? 'never' : bare.retry;
  return new FarsideError(isSites ? (said.code as ErrorCode) : bare.code, message, { retry });
}

/** The error below `fetch failed`. */
function rootOf(error: unknown): unknown {
  return error instanceof Error && error.cause !== undefined ? error.cause : error;
}

function codeOfLoss(error: unknown): ErrorCode {
  const { code } = (rootOf(error) ?? {}) as { code?: unknown };
  return code === 'ECONNREFUSED' || code === 'ENOTFOUND' ? 'ECONNREFUSED' : 'ETIMEDOUT';
}

function reasonOf(error: unknown): string {
  const root = rootOf(error);
  if (!(root instanceof Error)) return String(root);
  return root.message || ((root as { code?: string }).code ?? root.name);
}
