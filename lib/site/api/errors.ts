// Owns how failures leave the API: `{ "error": { "code", "message" } }` with an HTTP status. Messages of FarsideErrors are
// written for users and hold no secrets; of anything else only "internal error" leaves, and the rest goes to the log.

import type { Context } from 'hono';
import { HTTPException } from 'hono/http-exception';
import type { ContentfulStatusCode } from 'hono/utils/http-status';

import { FarsideError, type ErrorCode } from '../../errors.ts';

/** 401 is not here: only a missing or unknown token is answered so, by `authenticate`. */
export const statusOf: Record<ErrorCode, ContentfulStatusCode> = {
  EPERM: 403,
  ENOENT: 404,
  EIO: 500,
  EAGAIN: 503,
  EACCES: 403,
  EBUSY: 409,
  EEXIST: 409,
  EXDEV: 400,
  EINVAL: 400,
  EFBIG: 413,
  ENOSPC: 507,
  EROFS: 409,
  EDOM: 400,
  ERANGE: 400,
  ENOSYS: 501,
  ENOTEMPTY: 409,
  EBADMSG: 500,
  EOPNOTSUPP: 501,
  ESHUTDOWN: 409,
  ETIMEDOUT: 504,
  ECONNREFUSED: 502,
  EHOSTUNREACH: 502,
  ESTALE: 409,
  EDQUOT: 409,
  ECANCELED: 503,
};

/** What Hono and the validators refuse by themselves. */
const codeOfStatus: Partial<Record<number, ErrorCode>> = { 400: 'EINVAL', 413: 'EFBIG', 415: 'EINVAL' };

const retryAfterSeconds = 1;

export function errorBody(code: ErrorCode, message: string): { error: { code: ErrorCode; message: string } } {
  return { error: { code, message } };
}

export function answerError(c: Context, error: unknown, log: (line: string) => void): Response {
  if (error instanceof FarsideError) return answerFailure(c, error);
  if (error instanceof HTTPException) {
    const code = codeOfStatus[error.status];
    if (code) return c.json(errorBody(code, error.message), error.status);
  }
  log(
    `${c.req.method} ${c.req.routePath} failed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
  );
  return c.json(errorBody('EIO', 'internal error: the log of the site says more'), 500);
}

function answerFailure(c: Context, error: FarsideError): Response {
  if (error.retry !== 'never') c.header('Retry-After', String(retryAfterSeconds));
  return c.json(errorBody(error.code, error.message), statusOf[error.code]);
}

/** Nobody we know. */
export function answerUnauthorized(c: Context): Response {
  c.header('WWW-Authenticate', 'Bearer');
  return c.json(errorBody('EACCES', 'a valid bearer token is needed'), 401);
}

/** Somebody we know, who may not do this. */
export const forbidden = (why: string): FarsideError => new FarsideError('EPERM', why);
