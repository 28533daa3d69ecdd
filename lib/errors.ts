// Owns the one failure type of farside. Expected absence is a value, a bug is an `assert`, everything else that goes
// wrong is a FarsideError. Callers branch on `code`, never on the message.

/** Errno values (Linux), which are also the exit codes of the CLI, as with `rbd`. */
export const errnoOf = {
  EPERM: 1,
  ENOENT: 2,
  EIO: 5,
  EAGAIN: 11,
  EACCES: 13,
  EBUSY: 16,
  EEXIST: 17,
  EXDEV: 18,
  EINVAL: 22,
  EFBIG: 27,
  ENOSPC: 28,
  EROFS: 30,
  EDOM: 33,
  ERANGE: 34,
  ENOSYS: 38,
  ENOTEMPTY: 39,
  EBADMSG: 74,
  EOPNOTSUPP: 95,
  ESHUTDOWN: 108,
  ETIMEDOUT: 110,
  ECONNREFUSED: 111,
  EHOSTUNREACH: 113,
  ESTALE: 116,
  EDQUOT: 122,
  ECANCELED: 125,
} as const;

export type ErrorCode = keyof typeof errnoOf;
export const errorCodes = Object.keys(errnoOf) as ErrorCode[];

/** `now`: the same call may be repeated at once. `later`: after a back-off. `never`: only a changed call can succeed. */
export type Retry = 'now' | 'later' | 'never';

/** What each errno means, in the words of `strerror`; the CLI prints `(2) No such file or directory`. */
export const errnoText: Record<ErrorCode, string> = {
  EPERM: 'Operation not permitted',
  ENOENT: 'No such file or directory',
  EIO: 'Input/output error',
  EAGAIN: 'Resource temporarily unavailable',
  EACCES: 'Permission denied',
  EBUSY: 'Device or resource busy',
  EEXIST: 'File exists',
  EXDEV: 'Invalid cross-device link',
  EINVAL: 'Invalid argument',
  EFBIG: 'File too large',
  ENOSPC: 'No space left on device',
  EROFS: 'Read-only file system',
  EDOM: 'Numerical argument out of domain',
  ERANGE: 'Numerical result out of range',
  ENOSYS: 'Function not implemented',
  ENOTEMPTY: 'Directory not empty',
  EBADMSG: 'Bad message',
  EOPNOTSUPP: 'Operation not supported',
  ESHUTDOWN: 'Cannot send after transport endpoint shutdown',
  ETIMEDOUT: 'Connection timed out',
  ECONNREFUSED: 'Connection refused',
  EHOSTUNREACH: 'No route to host',
  ESTALE: 'Stale file handle',
  EDQUOT: 'Disk quota exceeded',
  ECANCELED: 'Operation canceled',
};

export type FarsideErrorOptions = { retry?: Retry; cause?: unknown };

/** A failure with an errno name. The message says what failed, why, and what to do next; it never holds a secret. */
export class FarsideError extends Error {
  readonly code: ErrorCode;
  readonly retry: Retry;

  constructor(code: ErrorCode, message: string, options: FarsideErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'FarsideError';
    this.code = code;
    this.retry = options.retry ?? 'never';
  }

  get errno(): number {
    return errnoOf[this.code];
  }
}

/** A bug in farside, not in its input: checked in production too. */
export function assert(condition: unknown, what: string): asserts condition {
  if (!condition) throw new Error(`farside bug: ${what}`);
}
