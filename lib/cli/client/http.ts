// Owns the CLI's side of HTTP: one request to one site, its answer as JSON, every failure as a FarsideError. The token
// travels in the Authorization header only.

import { z } from 'zod';
import { errnoOf, FarsideError, type ErrorCode } from '../../errors.ts';
import { parseJson } from '../../json.ts';
import type { Registration } from '../sites/registry.ts';

export type Query = Record<string, string | number | boolean | undefined>;
export type RequestOptions = { query?: Query; body?: unknown };

/** A site answers control requests in well under this; longer means that it hangs. */
const requestTimeoutMs = 120_000;

const errorShape = z.object({ error: z.object({ code: z.string(), message: z.string() }) });

export class SiteHttp {
  readonly #site: Registration;
  readonly #fetch: typeof fetch;

  constructor(site: Registration, fetcher: typeof fetch) {
    this.#site = site;
    this.#fetch = fetcher;
  }

  /** The answer's JSON, undefined for an empty answer. Errors have the code and message that the site gave. */
  async request(method: string, segments: readonly string[], options: RequestOptions = {}): Promise<unknown> {
    const url = requestUrl(this.#site.url, segments, options.query ?? {});
    const response = await this.#send(url, method, options.body);
    const text = await this.#read(response);
    if (!response.ok) throw this.#refusal(response.status, parseJson(text));
    if (text === '') return undefined;
    return parseJson(text) ?? this.#malformed();
  }

  async #send(url: URL, method: string, body: unknown): Promise<Response> {
    const headers: Record<string, string> = { authorization: `Bearer ${this.#site.token}`, accept: 'application/json' };
    if (body !== undefined) headers['content-type'] = 'application/json';
    try {
      const signal = AbortSignal.timeout(requestTimeoutMs);
      return await this.#fetch(url, {
        method,
        headers,
        signal,
        redirect: 'error',
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
    } catch (cause) {
      throw this.#unreachable(cause);
    }
  }

  async #read(response: Response): Promise<string> {
    try {
      return await response.text();
    } catch (cause) {
      throw this.#unreachable(cause);
    }
  }

  #unreachable(cause: unknown): FarsideError {
    const where = `site '${this.#site.name}' at ${this.#site.url}`;
    if (cause instanceof Error && cause.name === 'TimeoutError') {
      return new FarsideError('ETIMEDOUT', `${where} did not answer within ${requestTimeoutMs / 1000} s`, {
        retry: 'later',
        cause,
      });
    }
    return new FarsideError('ECONNREFUSED', `${where} does not answer: ${this.#remedy()}`, { retry: 'later', cause });
  }

  #remedy(): string {
    const isHere = this.#site.directory !== undefined || this.#site.pid !== undefined;
    return isHere
      ? `start it with 'farside site start --name ${this.#site.name}'`
      : `check that it is deployed and that the address is right ('farside site ls')`;
  }

  #refusal(status: number, body: unknown): FarsideError {
    const parsed = errorShape.safeParse(body);
    if (status === 401) {
      return new FarsideError(
        'EACCES',
        `site '${this.#site.name}' refuses the registered token: register the site again with 'farside site add --name ${this.#site.name}'`,
      );
    }
    if (!parsed.success)
      return new FarsideError('EIO', `site '${this.#site.name}' answered HTTP ${status} without saying why`);
    const { code, message } = parsed.data.error;
    return new FarsideError(code in errnoOf ? (code as ErrorCode) : 'EIO', message);
  }

  #malformed(): never {
    throw new FarsideError(
      'EBADMSG',
      `site '${this.#site.name}' gave an answer that is not JSON: is ${this.#site.url} a farside site?`,
    );
  }

  /** The answer itself (keys in their order), after checking that it has the shape that the CLI reads. */
  checked<T>(shape: z.ZodType<T>, answer: unknown): T {
    const parsed = shape.safeParse(answer);
    if (parsed.success) return answer as T;
    const where = parsed.error.issues[0]?.path.join('.') ?? '';
    throw new FarsideError(
      'EBADMSG',
      `site '${this.#site.name}' gave an answer of an unexpected shape (at '${where}'): are site and CLI of the same version?`,
    );
  }
}

/** Names become path segments; `.` and `..` cannot be one, since URLs resolve them away. */
function requestUrl(base: string, segments: readonly string[], query: Query): URL {
  const dots = segments.find((segment) => segment === '.' || segment === '..');
  if (dots !== undefined) throw new FarsideError('EINVAL', `invalid name '${dots}'`);
  const url = new URL(`${base.replace(/\/+$/, '')}/${segments.map(encodeURIComponent).join('/')}`);
  for (const [key, value] of Object.entries(query))
    if (value !== undefined && value !== '') url.searchParams.set(key, String(value));
  return url;
}
