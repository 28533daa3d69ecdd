// Owns rbd's words around a failure. A site says what went wrong; the command says what it was doing, as rbd does:
// `farside: resize error: (30) Read-only file system`, with the site's reason on a second line.

import { FarsideError, type ErrorCode } from '../../errors.ts';
import { prefixed, systemErrorCode, withErrno, WordedFailure } from './failure.ts';

/** Failures of reaching a site, which have nothing to do with the operation. */
const unframedCodes: ReadonlySet<ErrorCode> = new Set(['ECONNREFUSED', 'ETIMEDOUT', 'EACCES', 'EBADMSG']);

/** What rbd says while it opens a pool or image, before any verb begins. */
const openingPattern = /^error opening (?:pool|image) /;
const imagePattern = /^error opening image /;
const preconditionPattern =
  /^(?:namespace '[^']*' does not exist\.$|mirroring not enabled on the (?:pool|image)|multiple RX peers are not currently supported$|snapshot based mirroring not enabled on the image)/;

export type Frame = {
  /** The first line: rbd's words for the verb. */
  text: string;
  /** Whether rbd adds `: (30) Read-only file system` to it. */
  errno: boolean;
  /** Puts the site's reason on the same line, as rbd does where a manager module answers. */
  inline?: boolean;
  /** rbd does not open the image before this verb, so it has no words for that. */
  opensNothing?: boolean;
  /** Failures of this code are the operation's, though elsewhere they are about reaching a site. */
  owns?: ErrorCode;
  /** Other words for some codes; they stand alone. */
  instead?: Partial<Record<ErrorCode, string>>;
  /** As `instead`, without rbd's name before it. */
  insteadBare?: Partial<Record<ErrorCode, string>>;
  /** A line, with errno, that rbd says before its own. */
  before?: (code: ErrorCode) => string;
};

/** For reading `image@snap`: what is absent, if the image is there, is the snapshot. */
export const snapshotContextFrame = (text: string): Frame => ({
  text,
  errno: true,
  insteadBare: { ENOENT: withErrno('error setting snapshot context', 'ENOENT') },
});

const metaVerbs = { get: 'getting', set: 'setting', remove: 'removing' } as const;

/** One metadata key: rbd says what failed twice. */
export const metaFrame = (verb: keyof typeof metaVerbs, key: string): Frame => ({
  text: `${metaVerbs[verb]} metadata failed`,
  errno: true,
  before: (code) =>
    verb === 'remove' && code === 'ENOENT'
      ? `farside: no existing metadata key ${key} of image `
      : `failed to ${verb} metadata ${key} of image `,
});

/** One option that has no override here. */
export const configGetFrame = (key: string): Frame => ({
  text: `failed to get ${key}`,
  errno: true,
  instead: { ENOENT: `${key} is not set` },
});

/** For reading a stream, which may be damaged. */
export const streamFrame = (text: string): Frame => ({ text, errno: true, owns: 'EBADMSG' });

/** As rbd, where it says first what is not there, and then that the command failed. */
export const thenFailed = (first: string, text: string, code: ErrorCode): string =>
  `${first}\n${prefixed(withErrno(text, code)).trimEnd()}`;

/** Schedules: rbd passes on what its manager module said, with the module's command in front. */
export const scheduleFrame = (
  of: 'mirror snapshot' | 'trash purge',
  verb: 'add' | 'remove' | 'list' | 'status',
): Frame => ({
  text: `rbd ${of} schedule ${verb} failed`,
  errno: true,
  inline: true,
});

/** Does the work; its failure, or the operating system's, is worded by the frame and keeps its code. */
export async function framed<T>(frame: Frame, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof WordedFailure) throw error;
    const failure = failureOf(error);
    throw failure ? worded(frame, failure) : error;
  }
}

function worded(frame: Frame, failure: FarsideError): FarsideError {
  const { code, retry } = failure;
  const options = { cause: failure, retry };
  const bare = frame.insteadBare?.[code];
  if (complete(failure) !== undefined) return new FarsideError(code, words(frame, failure), options);
  if (bare !== undefined) return new WordedFailure(code, bare, options);
  if (!frame.before) return new FarsideError(code, words(frame, failure), options);
  const text = `${withErrno(frame.before(code), code)}\n${prefixed(words(frame, failure))}`;
  return new WordedFailure(code, text.trimEnd(), options);
}

function failureOf(error: unknown): FarsideError | undefined {
  if (error instanceof FarsideError) return error;
  const code = systemErrorCode(error);
  return code && error instanceof Error ? new FarsideError(code, error.message, { cause: error }) : undefined;
}

/** As `framed`, for verbs that rbd does not name: only opening errors get their errno. */
export async function unframed<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof FarsideError
      ? new FarsideError(error.code, complete(error) ?? error.message, { cause: error, retry: error.retry })
      : error;
  }
}

function words(frame: Frame, error: FarsideError): string {
  const isOwned = error.code === frame.owns || (frame.opensNothing === true && imagePattern.test(error.message));
  const whole = isOwned ? undefined : complete(error);
  if (whole !== undefined) return whole;
  const instead = frame.instead?.[error.code];
  if (instead !== undefined) return instead;
  const first = frame.errno ? withErrno(frame.text, error.code) : frame.text;
  const reason = reasonOf(error.message, frame.text);
  return reason === '' ? first : `${first}${frame.inline === true ? ': ' : '\n'}${reason}`;
}

/** A site may say the verb's words itself. */
const reasonOf = (message: string, text: string): string =>
  message.startsWith(text) ? message.slice(text.length).replace(/^[:\s]+/, '') : message;

/** The message, when it needs no frame. */
function complete(error: FarsideError): string | undefined {
  const { code, message } = error;
  if (unframedCodes.has(code) || preconditionPattern.test(message)) return message;
  if (!openingPattern.test(message)) return undefined;
  return / \(\d+\) /.test(message) ? message : withErrno(message, code);
}

/** Around `framed`: these reasons of a site stand alone, for they share their number with others that the frame words. */
export const tellingItself =
  (...reasons: string[]) =>
  (error: unknown): never => {
    const cause = error instanceof FarsideError ? error.cause : undefined;
    if (cause instanceof FarsideError && reasons.includes(cause.message))
      throw new FarsideError(cause.code, cause.message, { cause });
    throw error;
  };
