// Owns the translation to S3 and to servers that speak its protocol (Ceph RGW, MinIO, R2's S3 endpoint). The one file of the
// buckets that imports an SDK.
//
// The SDK repeats nothing here: `Bucket` does, since a repeated conditional put can be refused by what its first attempt wrote.
// Checksums of the transport are AWS's affair: S3 takes no put without one into a bucket with Object Lock. To other servers they are
// sent only where an operation requires them, since older ones refuse them; every pack and map node carries its own.
//
// What servers do differently, measured:
//   If-Match of a put         Ceph RGW 16 takes the tag without quotes only, R2 with quotes only (`#replace` learns which)
//   losers of a race          412; AWS also 409, to be repeated; Ceph RGW also 500 `UnknownError`, which is an unclear outcome
//   If-Match on an absent key 404 on AWS, 412 on Ceph RGW and R2
//   times in a list           Ceph RGW gives milliseconds, and whole seconds everywhere else

import {
  DeleteObjectsCommand,
  GetObjectCommand,
  type GetObjectCommandOutput,
  HeadObjectCommand,
  ListObjectsV2Command,
  type ListObjectsV2CommandOutput,
  PutObjectCommand,
  S3Client,
  S3ServiceException,
} from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';

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
import { formatRange, formatTag } from './http-protocol.ts';
import { checkDeleteBatch, checkKey, clampRange, pageLimit } from './rules.ts';

const connectTimeoutMs = 5_000;
const idleTimeoutDefaultMs = 30_000;
type TagForm = (etag: Etag) => string;
const bareTag: TagForm = (etag) => etag;
/** Pages without a single key that a list follows before it gives up. */
const emptyPagesMax = 10;

export type S3DriverOptions = {
  bucket: string;
  region: string;
  /** Of a server that is not AWS. */
  endpoint?: string | undefined;
  /** `endpoint/bucket/key` rather than `bucket.endpoint/key`. */
  pathStyle?: boolean | undefined;
  /** Left out: what the SDK finds, from the environment to the role of the machine. */
  credentials?: { accessKeyId: string; secretAccessKey: string };
  /** After so long without a byte in either direction a request is given up. */
  idleTimeoutMs?: number;
};

export class S3Driver implements Driver {
  readonly kind = 's3';
  readonly #bucket: string;
  readonly #client: S3Client;
  #tagForm: TagForm | undefined;

  constructor({ bucket, region, endpoint, pathStyle, credentials, idleTimeoutMs }: S3DriverOptions) {
    this.#bucket = bucket;
    this.#client = new S3Client({
      region,
      maxAttempts: 1,
      requestChecksumCalculation: endpoint === undefined ? 'WHEN_SUPPORTED' : 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      requestHandler: { connectionTimeout: connectTimeoutMs, socketTimeout: idleTimeoutMs ?? idleTimeoutDefaultMs },
      ...(endpoint !== undefined && { endpoint }),
      ...(pathStyle !== undefined && { forcePathStyle: pathStyle }),
      ...(credentials && { credentials }),
    });
  }

  async get(key: string, { range, ifMatch }: GetOptions = {}): Promise<GetOutcome> {
    checkKey(key);
    const part = range && clampRange(range, Number.MAX_SAFE_INTEGER);
    if (part?.length === 0) return this.#getNothing(key, part, ifMatch);
    const input = {
      Bucket: this.#bucket,
      Key: key,
      ...(part && { Range: formatRange(part) }),
      ...(ifMatch !== undefined && { IfMatch: formatTag(ifMatch) }),
    };
    try {
      const output = await this.#client.send(new GetObjectCommand(input));
      return { status: 'found', body: await bodyOf(output), meta: metaOf(key, output) };
    } catch (error) {
      const { status, name } = faultIn(error);
      if (status === 404 && name !== 'NoSuchBucket') return { status: 'absent' };
      if (status === 412) return { status: 'changed' };
      if (status === 416 && part) return this.#getNothing(key, part, ifMatch, error);
      throw this.#translated(`get '${key}'`, error);
    }
  }

  async head(key: string): Promise<ObjectMeta | undefined> {
    checkKey(key);
    try {
      return metaOf(key, await this.#client.send(new HeadObjectCommand({ Bucket: this.#bucket, Key: key })));
    } catch (error) {
      if (faultIn(error).status === 404) return undefined;
      throw this.#translated(`head '${key}'`, error);
    }
  }

  async put(key: string, body: Uint8Array, condition: PutCondition): Promise<PutOutcome> {
    checkKey(key);
    if (condition === 'none') return this.#put(key, body, {});
    return condition === 'absent'
      ? this.#put(key, body, { IfNoneMatch: '*' })
      : this.#replace(key, body, condition.etag);
  }

  /** Once a tag was accepted in one form the server takes that form; before, a refusal may be of the form and not of the tag. */
  async #replace(key: string, body: Uint8Array, etag: Etag): Promise<PutOutcome> {
    const known = this.#tagForm;
    const outcome = await this.#replaceAs(known ?? formatTag, key, body, etag);
    if (outcome.status === 'stored' || known !== undefined) return outcome;
    if ((await this.head(key))?.etag !== etag) return outcome;
    return this.#replaceAs(bareTag, key, body, etag);
  }

  async #replaceAs(form: TagForm, key: string, body: Uint8Array, etag: Etag): Promise<PutOutcome> {
    const outcome = await this.#put(key, body, { IfMatch: form(etag) });
    if (outcome.status === 'stored') this.#tagForm = form;
    return outcome;
  }

  async #put(
    key: string,
    body: Uint8Array,
    condition: { IfNoneMatch?: string; IfMatch?: string },
  ): Promise<PutOutcome> {
    try {
      const command = new PutObjectCommand({ Bucket: this.#bucket, Key: key, Body: body, ...condition });
      const { ETag } = await this.#client.send(command);
      return { status: 'stored', etag: etagOf(ETag) };
    } catch (error) {
      const { status, name } = faultIn(error);
      if (status === 412 || (status === 404 && name !== 'NoSuchBucket')) return { status: 'refused' };
      throw this.#translated(`put '${key}'`, error);
    }
  }

  async delete(keys: readonly string[]): Promise<void> {
    checkDeleteBatch(keys);
    keys.forEach(checkKey);
    if (keys.length === 0) return;
    const what = `delete of ${keys.length} keys`;
    const command = new DeleteObjectsCommand({
      Bucket: this.#bucket,
      Delete: { Quiet: true, Objects: keys.map((key) => ({ Key: key })) },
    });
    const { Errors = [] } = await this.#sending(what, () => this.#client.send(command));
    const [first] = Errors;
    if (!first) return;
    const { code, retry } = faultOfName[first.Code ?? ''] ?? { code: 'EIO', retry: 'later' };
    throw new FarsideError(code, `S3 ${what}: '${first.Key}': ${first.Message || first.Code}`, { retry });
  }

  async list({ prefix, after, limit }: ListOptions): Promise<ListPage> {
    const first = { Bucket: this.#bucket, Prefix: prefix, MaxKeys: pageLimit(limit) };
    const send = (from: { StartAfter?: string; ContinuationToken?: string }): Promise<ListObjectsV2CommandOutput> =>
      this.#sending(`list '${prefix}'`, () => this.#client.send(new ListObjectsV2Command({ ...first, ...from })));
    let page = await send(after === undefined ? {} : { StartAfter: after });
    for (let emptyCount = 0; page.NextContinuationToken !== undefined && !page.Contents?.length; emptyCount++) {
      if (emptyCount === emptyPagesMax)
        throw new FarsideError('EIO', `S3 lists '${prefix}' in empty pages`, { retry: 'later' });
      page = await send({ ContinuationToken: page.NextContinuationToken });
    }
    const objects = (page.Contents ?? []).map((object) =>
      metaOf(object.Key ?? '', { ...object, ContentLength: object.Size }),
    );
    return { objects, more: page.IsTruncated === true };
  }

  /** Range and If-Match may be added as headers by whoever uses the URL. */
  async presignGet(key: string, expiresSeconds: number): Promise<string> {
    checkKey(key);
    const command = new GetObjectCommand({ Bucket: this.#bucket, Key: key });
    return this.#sending(`presign of '${key}'`, () =>
      getSignedUrl(this.#client, command, { expiresIn: expiresSeconds }),
    );
  }

  /** For a range that holds no byte, which S3 does not serve. If it does hold some after all, `error` had another reason. */
  async #getNothing(key: string, range: ByteRange, ifMatch: Etag | undefined, error?: unknown): Promise<GetOutcome> {
    const meta = await this.head(key);
    if (!meta) return { status: 'absent' };
    if (ifMatch !== undefined && ifMatch !== meta.etag) return { status: 'changed' };
    if (clampRange(range, meta.bytes).length > 0) throw this.#translated(`get '${key}'`, error);
    return { status: 'found', body: new Uint8Array(), meta };
  }

  async #sending<T>(what: string, send: () => Promise<T>): Promise<T> {
    try {
      return await send();
    } catch (error) {
      throw this.#translated(what, error);
    }
  }

  #translated(what: string, cause: unknown): unknown {
    if (cause instanceof FarsideError || cause instanceof TypeError) return cause;
    const { status, name, why } = faultIn(cause);
    const fault = faultOfName[name] ?? faultOfStatus[status] ?? { code: codeOfLoss(cause), retry: 'later' };
    const hint = hintOf[name] ?? '';
    return new FarsideError(fault.code, `S3 ${what} in bucket '${this.#bucket}': ${why}${hint}`, {
      retry: fault.retry,
      cause,
    });
  }
}

type Fault = { code: ErrorCode; retry: Retry };

/** Whatever is in neither table is taken for a passing fault: 500 and every lost connection. */
const faultOfName: Partial<Record<string, Fault>> = {
  AccessDenied: { code: 'EACCES', retry: 'never' },
  ConditionalRequestConflict: { code: 'EAGAIN', retry: 'now' },
  CredentialsProviderError: { code: 'EACCES', retry: 'never' },
  EntityTooLarge: { code: 'EFBIG', retry: 'never' },
  ExpiredToken: { code: 'EACCES', retry: 'never' },
  InvalidToken: { code: 'EACCES', retry: 'never' },
  NoSuchBucket: { code: 'ENOENT', retry: 'never' },
  QuotaExceeded: { code: 'ENOSPC', retry: 'never' },
  // The SDK has learnt the server's time from this answer.
  RequestTimeTooSkewed: { code: 'EAGAIN', retry: 'now' },
  RequestTimeout: { code: 'ETIMEDOUT', retry: 'later' },
  SlowDown: { code: 'EAGAIN', retry: 'later' },
  // Ceph RGW's answer to the losers of a race: `Bucket` asks again at once and finds out.
  UnknownError: { code: 'EAGAIN', retry: 'now' },
};
const faultOfStatus: Partial<Record<number, Fault>> = {
  301: { code: 'EINVAL', retry: 'never' },
  307: { code: 'EAGAIN', retry: 'later' },
  400: { code: 'EINVAL', retry: 'never' },
  401: { code: 'EACCES', retry: 'never' },
  403: { code: 'EACCES', retry: 'never' },
  404: { code: 'ENOENT', retry: 'never' },
  405: { code: 'EOPNOTSUPP', retry: 'never' },
  409: { code: 'EAGAIN', retry: 'now' },
  411: { code: 'EOPNOTSUPP', retry: 'never' },
  413: { code: 'EFBIG', retry: 'never' },
  429: { code: 'EAGAIN', retry: 'later' },
  501: { code: 'EOPNOTSUPP', retry: 'never' },
  503: { code: 'EAGAIN', retry: 'later' },
  507: { code: 'ENOSPC', retry: 'never' },
};
const hintOf: Partial<Record<string, string>> = {
  CredentialsProviderError: '; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE',
  NotImplemented: '; farside needs conditional writes (If-None-Match and If-Match)',
  PermanentRedirect: '; the bucket is in another region',
};

function faultIn(error: unknown): { status: number; name: string; why: string } {
  const name = error instanceof Error ? error.name : '';
  const status = error instanceof S3ServiceException ? (error.$metadata.httpStatusCode ?? 0) : 0;
  if (!(error instanceof Error)) return { status, name, why: String(error) };
  // The answer to HEAD has no body, so no code and no message.
  const said = error.message && error.message !== 'UnknownError' ? `: ${error.message}` : '';
  const cause = status === 0 ? (error as { code?: string }).code : `${name} (HTTP ${status})`;
  return { status, name, why: `${cause ?? name}${said}` };
}

const refusedCodes: ReadonlySet<string | undefined> = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EHOSTUNREACH']);

/** Of a request without an answer, or with one that says nothing. */
function codeOfLoss(error: unknown): ErrorCode {
  if (error instanceof S3ServiceException) return 'EIO';
  return refusedCodes.has((error as { code?: string }).code) ? 'ECONNREFUSED' : 'ETIMEDOUT';
}

type ObjectFacts = {
  ContentLength?: number | undefined;
  ContentRange?: string | undefined;
  ETag?: string | undefined;
  LastModified?: Date | undefined;
};

const millisecondsPerSecond = 1000;

function metaOf(key: string, { ContentLength, ContentRange, ETag, LastModified }: ObjectFacts): ObjectMeta {
  const total = /\/(\d{1,15})$/.exec(ContentRange ?? '')?.[1];
  const bytes = total === undefined ? ContentLength : Number(total);
  if (bytes === undefined || LastModified === undefined)
    throw new FarsideError('EBADMSG', `S3 gives '${key}' without its size and time`);
  const uploadedAtMs = Math.floor(LastModified.getTime() / millisecondsPerSecond) * millisecondsPerSecond;
  return { key, bytes, etag: etagOf(ETag), uploadedAtMs };
}

function etagOf(text: string | undefined): Etag {
  const etag = text?.replaceAll('"', '');
  if (!etag) throw new FarsideError('EBADMSG', 'S3 answers without a tag');
  return etag;
}

async function bodyOf({ Body }: GetObjectCommandOutput): Promise<Uint8Array> {
  return Body ? Body.transformToByteArray() : new Uint8Array();
}
