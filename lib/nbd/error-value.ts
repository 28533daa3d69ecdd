// Owns what a client is told of a failure: the protocol has eight values, farside more codes.

import { FarsideError, type ErrorCode } from '../errors.ts';
import type { ErrorName } from './wire.ts';

export type Refusal = { name: ErrorName; text: string };

/** Everything that is not here is EIO. */
const nameOf: Partial<Record<ErrorCode, ErrorName>> = {
  EPERM: 'EPERM',
  EACCES: 'EPERM',
  EROFS: 'EPERM',
  EINVAL: 'EINVAL',
  EDOM: 'EINVAL',
  ERANGE: 'EINVAL',
  ENOSPC: 'ENOSPC',
  EFBIG: 'ENOSPC',
  EOPNOTSUPP: 'ENOTSUP',
  ENOSYS: 'ENOTSUP',
  ECANCELED: 'ESHUTDOWN',
  ESHUTDOWN: 'ESHUTDOWN',
};

/** The text of a failure that nobody foresaw is for the server's log, not for clients. */
export function refusalOf(error: unknown): Refusal {
  if (!(error instanceof FarsideError)) return { name: 'EIO', text: 'the server failed; its log says why' };
  return { name: nameOf[error.code] ?? 'EIO', text: error.message };
}
