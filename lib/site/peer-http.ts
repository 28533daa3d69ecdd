// Owns the other site over HTTP: `Peer` as requests to its peer endpoints (lib/site/api/routes-peer.ts). Answers are checked
// against the protocol's schemas and bounded in size; failures become FarsideErrors as `Peer` promises. Nothing is retried
// here: messages and ticks repeat the work.
//
// The key goes to the peer's own origin only. A pack may be answered by a redirect (to object storage, say), which is followed
// without it.

import type { z } from 'zod';

import { bytesHeader, formatRange, formatTag, parseTag } from '../bucket/http-protocol.ts';
import { errnoOf, FarsideError, type ErrorCode } from '../errors.ts';
import { parseJson } from '../json.ts';
import {
  deltaAnswerSchema,
  feedPageSchema,
  oneLine,
  peerCatalogSchema,
  peerImageSchema,
  registerAnswerSchema,
  type Ack,
  type DeltaAnswer,
  type DeltaRequest,
  type FeedPage,
  type Heartbeat,
  type PackAnswer,
  type PackEntries,
  type PackOptions,
  type Peer,
  type PeerCatalog,
  type PeerConnector,
  type PeerImage,
  type RegisterAnswer,
  type RegisterRequest,
} from '../mirror/peer-protocol.ts';
import { readBounded } from './bounded-body.ts';

const callTimeoutMs = 30_000;
/** 64 MiB in this time is about 4 Mbit/s. */
const packTimeoutMs = 120_000;
const jsonBytesMax = 32 * 1024 * 1024;
const packBytesMax = 64 * 1024 * 1024;
const redirectsMax = 3;

type Fetch = typeof fetch;
type Call = { method: string; path: string; body?: unknown };

/** An answer with its body taken in; of `response`, only status, headers and URL count. */
export type Downloaded = { response: Response; body: Uint8Array; release?: () => void };

/**
 * Gets a large answer whole, following no redirect. Fails as `fetch` does, and with EFBIG beyond `bytesMax`. A runtime that can
 * do better than `fetch` brings its own.
 */
export type Download = (
  url: string,
  headers: Record<string, string>,
  limits: { bytesMax: number; timeoutMs: number },
) => Promise<Downloaded>;

const downloadBy =
  (fetch: Fetch): Download =>
  async (url, headers, { bytesMax, timeoutMs }) => {
    const response = await fetch(url, { headers, redirect: 'manual', signal: AbortSignal.timeout(timeoutMs) });
    return { response, body: await readBounded(response, bytesMax) };
  };

/** Unseals the record's key when a peer is connected; does no request. */
export const httpPeers =
  (unseal: (sealed: string) => Promise<string>, ways: Pick<HttpPeerOptions, 'fetch' | 'download'>): PeerConnector =>
  async (pool, record) =>
    new HttpPeer({ url: record.url, pool, key: await unseal(record.sealedKey), ...ways });

export type HttpPeerOptions = {
  url: string;
  pool: string;
  key: string;
  fetch: Fetch;
  download?: Download | undefined;
};

export class HttpPeer implements Peer {
  readonly #base: string;
  readonly #host: string;
  readonly #key: string;
  readonly #fetch: Fetch;
  readonly #download: Download;

  constructor({ url, pool, key, fetch, download }: HttpPeerOptions) {
    this.#base = `${url.replace(/\/+$/, '')}/peer/v1/pools/${encodeURIComponent(pool)}`;
    this.#host = hostOf(url);
    this.#key = key;
    this.#fetch = fetch;
    this.#download = download ?? downloadBy(fetch);
  }

  async image(globalId: string): Promise<PeerImage> {
    return this.#ask(peerImageSchema, { method: 'GET', path: `/images/${encodeURIComponent(globalId)}` });
  }

  async catalog(): Promise<PeerCatalog> {
    return this.#ask(peerCatalogSchema, { method: 'GET', path: '/catalog' });
  }

  async feed(from: number): Promise<FeedPage> {
    return this.#ask(feedPageSchema, { method: 'GET', path: `/feed?from=${from}` });
  }

  async delta(globalId: string, request: DeltaRequest): Promise<DeltaAnswer> {
    return this.#ask(deltaAnswerSchema, {
      method: 'POST',
      path: `/images/${encodeURIComponent(globalId)}/delta`,
      body: request,
    });
  }

  async ack(globalId: string, ack: Ack): Promise<void> {
    await this.#call({ method: 'POST', path: `/images/${encodeURIComponent(globalId)}/ack`, body: ack });
  }

  async wake(globalIds: readonly string[]): Promise<void> {
    await this.#call({ method: 'POST', path: '/wake', body: { globalIds } });
  }

  async heartbeat(heartbeat: Heartbeat): Promise<void> {
    await this.#call({ method: 'POST', path: '/heartbeat', body: heartbeat });
  }

  async register(request: RegisterRequest): Promise<RegisterAnswer> {
    try {
      return await this.#ask(registerAnswerSchema, { method: 'POST', path: '/register', body: request });
    } catch (cause) {
      throw cause instanceof FarsideError && cause.code === 'EACCES' ? this.#tokenRefused(cause) : cause;
    }
  }

  async unregister(only?: 'tx-only'): Promise<void> {
    await this.#call({ method: 'DELETE', path: `/register${only === undefined ? '' : `?only=${only}`}` });
  }

  async pack(imageId: string, packId: string, { range, ifMatch, slot }: PackOptions = {}): Promise<PackAnswer> {
    const headers: Record<string, string> = {};
    if (range) headers['range'] = formatRange(range.length > 0 ? range : { ...range, length: 1 });
    if (ifMatch !== undefined) headers['if-match'] = formatTag(ifMatch);
    const { response, body, release } = await this.#downloadFollowing(
      `${this.#base}/images/${encodeURIComponent(imageId)}/packs/${encodeURIComponent(packId)}${slotQuery(slot)}`,
      headers,
    );
    if (response.status === 404) return this.#packAbsent(response, body);
    if (response.status === 412) return { status: 'changed' };
    if (response.status === 416) return { status: 'found', body: new Uint8Array(), ...packMeta(response) };
    if (!response.ok) throw this.#failure(response, body);
    return {
      status: 'found',
      body: range?.length === 0 ? new Uint8Array() : body,
      ...packMeta(response),
      ...(release && { release }),
    };
  }

  async segment(imageId: string, epoch: string, seq: number): Promise<PackAnswer> {
    const path = `/images/${encodeURIComponent(imageId)}/segments/${encodeURIComponent(epoch)}/${seq}`;
    const { response, body, release } = await this.#downloadFollowing(`${this.#base}${path}`, {});
    if (response.status === 404) return this.#packAbsent(response, body);
    if (!response.ok) throw this.#failure(response, body);
    return { status: 'found', body, ...packMeta(response), ...(release && { release }) };
  }

  async requestPoint(globalId: string): Promise<void> {
    await this.#call({ method: 'POST', path: `/images/${encodeURIComponent(globalId)}/point` });
  }

  async packEntries(imageId: string, packId: string, wanted: PackEntries): Promise<PackAnswer> {
    const path = `/images/${encodeURIComponent(imageId)}/packs/${encodeURIComponent(packId)}/entries`;
    const headers = { 'content-type': 'application/json', 'accept-encoding': 'identity', ...this.#authorization() };
    const init: RequestInit = { method: 'POST', headers, redirect: 'manual', body: JSON.stringify(wanted) };
    const answer = await this.#send(`${this.#base}${path}`, init, packTimeoutMs);
    // So much of the pack is wanted that all of it may be read, elsewhere.
    const target = redirection(answer, this.#base);
    const { response, body, release }: Downloaded =
      target === undefined
        ? { response: answer, body: await this.#body(answer, packBytesMax) }
        : await this.#downloadFollowing(target, {});
    if (response.status === 404) return this.#packAbsent(response, body);
    if (!response.ok) throw this.#failure(response, body);
    return { status: 'found', body, ...packMeta(response), ...(release && { release }) };
  }

  /** A 404 of the endpoint, or of S3, says that there is no such pack; one of something in between says nothing about packs. */
  #packAbsent(response: Response, body: Uint8Array): PackAnswer {
    const failure = this.#failure(response, body);
    if (failure.code === 'ENOENT' || saysNoSuchKey(body)) return { status: 'absent' };
    throw failure;
  }

  async #ask<T>(schema: z.ZodType<T>, call: Call): Promise<T> {
    const parsed = schema.safeParse(parseJson(await this.#call(call)));
    if (parsed.success) return parsed.data;
    throw new FarsideError(
      'EBADMSG',
      `peer ${this.#host} gave an answer of an unexpected shape: are both sites of the same version?`,
      { retry: 'later' },
    );
  }

  async #call({ method, path, body }: Call): Promise<Uint8Array> {
    const headers: Record<string, string> = { accept: 'application/json', ...this.#authorization() };
    if (body !== undefined) headers['content-type'] = 'application/json';
    const init: RequestInit = {
      method,
      headers,
      redirect: 'manual',
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    };
    const response = await this.#send(`${this.#base}${path}`, init, callTimeoutMs);
    const answer = await this.#body(response, jsonBytesMax);
    if (!response.ok) throw this.#failure(response, answer);
    return answer;
  }

  #authorization(): { authorization: string } {
    return { authorization: `Bearer ${this.#key}` };
  }

  async #downloadFollowing(first: string, headers: Record<string, string>): Promise<Downloaded> {
    let url = first;
    for (let redirectCount = 0; redirectCount <= redirectsMax; redirectCount++) {
      const own = new URL(url).origin === new URL(this.#base).origin;
      const sent = { ...headers, 'accept-encoding': 'identity', ...(own ? this.#authorization() : {}) };
      const downloaded = await this.#downloadOnce(url, sent);
      const target = redirection(downloaded.response, url);
      if (target === undefined) return downloaded;
      url = target;
    }
    throw new FarsideError('EIO', `peer ${this.#host} redirects too often`, { retry: 'later' });
  }

  async #downloadOnce(url: string, headers: Record<string, string>): Promise<Downloaded> {
    try {
      return await this.#download(url, headers, { bytesMax: packBytesMax, timeoutMs: packTimeoutMs });
    } catch (cause) {
      throw cause instanceof FarsideError ? cause : this.#unreachable(cause);
    }
  }

  async #send(url: string, init: RequestInit, timeoutMs: number): Promise<Response> {
    try {
      return await this.#fetch(url, { ...init, signal: AbortSignal.timeout(timeoutMs) });
    } catch (cause) {
      throw this.#unreachable(cause);
    }
  }

  async #body(response: Response, bytesMax: number): Promise<Uint8Array> {
    try {
      return await readBounded(response, bytesMax);
    } catch (cause) {
      throw cause instanceof FarsideError ? cause : this.#unreachable(cause);
    }
  }

  #unreachable(cause: unknown): FarsideError {
    const timedOut = cause instanceof Error && cause.name === 'TimeoutError';
    const what = timedOut ? 'does not answer in time' : 'cannot be reached';
    return new FarsideError(timedOut ? 'ETIMEDOUT' : 'ECONNREFUSED', `peer ${this.#host} ${what}`, {
      retry: 'later',
      cause,
    });
  }

  #tokenRefused(cause: FarsideError): FarsideError {
    const why = 'it is of another pool, or of one that was made anew, or was forgotten after many others';
    return new FarsideError(
      'EACCES',
      `peer ${this.#host} does not take this token for the pool: ${why}; create a token of that pool there and import it here`,
      { cause },
    );
  }

  #failure(response: Response, body: Uint8Array): FarsideError {
    const told = toldFailure(body);
    const passing = response.status === 429 || response.status >= 500;
    if (response.status === 401) return new FarsideError('EACCES', `peer ${this.#host} no longer knows this site`);
    if (told)
      return new FarsideError(told.code === 'EPERM' ? 'EACCES' : told.code, `peer ${this.#host}: ${told.message}`, {
        retry: retryOf(told.code, passing),
      });
    // Not a farside site: a proxy in between, or the wrong address.
    return new FarsideError(passing ? 'ECONNREFUSED' : 'EIO', `peer ${this.#host} answered HTTP ${response.status}`, {
      retry: 'later',
    });
  }
}

function retryOf(code: ErrorCode, passing: boolean): 'later' | 'never' {
  return passing && code !== 'ENOSYS' && code !== 'EOPNOTSUPP' ? 'later' : 'never';
}

const slotQuery = (slot: PackOptions['slot']): string => (slot ? `?epoch=${slot.epoch}&seq=${slot.seq}` : '');

function packMeta(response: Response): { etag: string; objectBytes: number } {
  const etag = parseTag(response.headers.get('etag') ?? '');
  const total = /\/(\d{1,15})$/.exec(response.headers.get('content-range') ?? '')?.[1];
  const bytes = response.headers.get(bytesHeader) ?? total ?? response.headers.get('content-length');
  if (etag === undefined || bytes === null || !/^\d{1,15}$/.test(bytes)) {
    throw new FarsideError('EBADMSG', 'a peer sent a pack without its tag or size', { retry: 'later' });
  }
  return { etag, objectBytes: Number(bytes) };
}

function redirection(response: Response, base: string): string | undefined {
  const location = response.status >= 300 && response.status < 400 ? response.headers.get('location') : null;
  return location === null ? undefined : redirectTarget(location, base);
}

const saysNoSuchKey = (body: Uint8Array): boolean => new TextDecoder().decode(body).includes('<Code>NoSuchKey</Code>');

/** Nobody is sent from https to what is not: that would also be a way to services that only this site can reach. */
function redirectTarget(location: string, base: string): string {
  const url = URL.parse(location, base);
  if (url?.protocol === 'https:' || (url?.protocol === 'http:' && base.startsWith('http:'))) return url.href;
  throw new FarsideError('EIO', 'a peer redirects to an address that is not HTTP, or not as safe as its own', {
    retry: 'later',
  });
}

function toldFailure(body: Uint8Array): { code: ErrorCode; message: string } | undefined {
  const parsed = parseJson(body);
  const error = typeof parsed === 'object' && parsed !== null && 'error' in parsed ? parsed.error : undefined;
  if (typeof error !== 'object' || error === null || !('code' in error) || !('message' in error)) return undefined;
  const { code, message } = error;
  if (typeof code !== 'string' || !Object.hasOwn(errnoOf, code) || typeof message !== 'string') return undefined;
  return { code: code as ErrorCode, message: oneLine(message.slice(0, 500)) };
}

const hostOf = (url: string): string => URL.parse(url)?.host ?? 'with a malformed address';
