// Owns the handful of operations that a kind of object storage must offer. `Bucket` holds everything that all kinds share
// (retries, unclear outcomes, request counts, documents); a driver only translates. Sizes are bytes; keys are UTF-8, at
// most 1,024 bytes; bodies are whole objects in memory (farside's largest object is a pack, about 8 MiB).

/** Opaque, unquoted entity tag of one version of an object. Equal content may have an equal tag (no ABA protection). */
export type Etag = string;

export type ObjectMeta = { key: string; bytes: number; etag: Etag; uploadedAtMs: number };

export type ByteRange = { offset: number; length: number };

export type GetOptions = {
  /** Bytes wanted. A range that runs past the end is cut there; one that begins at or past the end gives an empty body. */
  range?: ByteRange | undefined;
  /** Answer `changed` when the object's tag is another. */
  ifMatch?: Etag | undefined;
  /** Memory for the body, which is then a part of it: a driver may use it, if the body fits. */
  room?: Uint8Array | undefined;
};

export type GetOutcome =
  | { status: 'found'; body: Uint8Array; meta: ObjectMeta }
  | { status: 'absent' }
  | { status: 'changed' };

/**
 * `body`: a byte stream of the version that was found, whatever becomes of the key: whoever reads it brings the memory. It must
 * be read to its end or cancelled.
 */
export type StreamOutcome =
  | { status: 'found'; body: ReadableStream<Uint8Array<ArrayBuffer>>; meta: ObjectMeta }
  | { status: 'absent' };

/** `absent`: create only. `{ etag }`: replace exactly this version. `none`: write whatever is there (probe and tests only). */
export type PutCondition = 'absent' | 'none' | { etag: Etag };

/**
 * `stored`: this call's bytes are the object now. `refused`: the condition did not hold (also `{ etag }` on an absent key).
 * A racing put that the store asks to repeat (S3's 409) is a FarsideError with retry `now`.
 */
export type PutOutcome = { status: 'stored'; etag: Etag } | { status: 'refused' };

export type ListOptions = { prefix: string; after?: string | undefined; limit: number };

/** In UTF-8 order of key. `more` is true when further keys follow the last one; a page may be shorter than `limit`. */
export type ListPage = { objects: ObjectMeta[]; more: boolean };

export type RequestClass = 'A' | 'B' | 'free';

/**
 * One kind of object storage. Every method may throw a FarsideError:
 * - retry `now` or `later`: passing fault (throttling, lost connection). A `put` that fails so is *unclear*: it may have
 *   landed, or may land yet; `Bucket` finds out. Every other method may simply be called again.
 * - retry `never`: the call itself is wrong (EINVAL key, EACCES, EROFS).
 */
export interface Driver {
  /** `memory`, `file`, `r2`, `http`, `s3`. */
  readonly kind: string;
  /** True when a put that has settled no longer refers to its body, so that the caller may use its memory again. */
  readonly freesBody?: boolean;
  get(key: string, options?: GetOptions): Promise<GetOutcome>;
  /** As `get` of the whole object, for one who passes it on and need not hold it. */
  stream?(key: string): Promise<StreamOutcome>;
  /** Size, tag and time without the body, or undefined when absent. */
  head(key: string): Promise<ObjectMeta | undefined>;
  /** Durable and visible to every later get, head and list once it answers `stored`. All or nothing. */
  put(key: string, body: Uint8Array, condition: PutCondition): Promise<PutOutcome>;
  /** At most 1,000 keys. Absent keys are fine; unconditional; after a failure some keys may be gone. */
  delete(keys: readonly string[]): Promise<void>;
  list(options: ListOptions): Promise<ListPage>;
  /** A URL that reads the object without credentials until it expires, with Range and If-Match as the reader adds them. */
  presignGet?(key: string, expiresSeconds: number): Promise<string>;
}

/** Price class of each driver method, as R2 and S3 bill them. */
export const requestClassOf: Record<Exclude<keyof Driver, 'kind' | 'freesBody' | 'presignGet'>, RequestClass> = {
  get: 'B',
  stream: 'B',
  head: 'B',
  put: 'A',
  delete: 'free',
  list: 'A',
};
