// Owns what a failed system call means for the caller of a FileDriver.

import { type ErrorCode, FarsideError, type Retry } from '../errors.ts';

type Fault = { code: ErrorCode; retry: Retry };

/** Calls that may succeed when repeated: another process will have given something back by then. */
const faultOf: Record<string, Fault> = {
  EMFILE: { code: 'EAGAIN', retry: 'later' },
  ENFILE: { code: 'EAGAIN', retry: 'later' },
  EAGAIN: { code: 'EAGAIN', retry: 'later' },
  EINTR: { code: 'EAGAIN', retry: 'now' },
  ENOSPC: { code: 'ENOSPC', retry: 'never' },
  EDQUOT: { code: 'ENOSPC', retry: 'never' },
  EACCES: { code: 'EACCES', retry: 'never' },
  EPERM: { code: 'EACCES', retry: 'never' },
  EROFS: { code: 'EROFS', retry: 'never' },
  ENAMETOOLONG: { code: 'EINVAL', retry: 'never' },
};

/** Runs `work`; what a system call throws in it becomes a FarsideError that names `key`. */
export async function translatingFaults<T>(key: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw translatedFault(key, error);
  }
}

/** `error` itself unless a system call threw it. */
export function translatedFault(key: string, error: unknown): unknown {
  return isSystemFault(error) ? translated(key, error) : error;
}

function isSystemFault(error: unknown): error is NodeJS.ErrnoException {
  return (
    error instanceof Error &&
    !(error instanceof FarsideError) &&
    typeof (error as NodeJS.ErrnoException).syscall === 'string'
  );
}

/** An unlisted fault (EIO above all) is not repeated: after a failed fsync a second one may succeed without having written. */
function translated(key: string, cause: NodeJS.ErrnoException): FarsideError {
  const { code, retry } = faultOf[cause.code ?? ''] ?? { code: 'EIO', retry: 'never' };
  return new FarsideError(code, `'${key}': ${cause.message}`, { retry, cause });
}
