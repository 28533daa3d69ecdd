// Owns how who takes a snapshot of an image in use has its writer still first what writes to it: rbd's quiesce, for snapshots that
// an application finds consistent. Without it a snapshot is what a crash would leave, with everything that was flushed
// (docs/decisions/0023-snapshots-of-images-in-use.md). Only writers that have a hook are asked: others cost no request.
//
//   snap create                            writer, who looks at the header every few seconds
//   swap: `asked`
//                                          runs its hook; holds what is written; puts what it has into slots
//                                          swap: `quiesced`, everything is before slot 9
//   folds up to slot 9
//   swap: snapshot, and the request is gone
//                                          sees that; writes go on; runs its hook for the end
//
// The request lies in the header, so it ends with the epoch, and whoever dies leaves nothing stuck: who asks waits `untilMs` at most,
// after which others may ask; the writer holds still for a limited time, and takes the request back before it goes on. A snapshot is
// taken for quiesced only if the swap that takes it finds the answer there, and no slot folded that came after it.

import type { Stored } from '../../bucket/document.ts';
import { errnoOf, FarsideError, type ErrorCode } from '../../errors.ts';
import { readHeader, updateHeader } from '../access.ts';
import { ownerOf } from './attachment.ts';
import type { ImageDeps } from '../deps.ts';
import type { Header, QuiesceFailure, QuiesceRequest } from '../header.ts';
import type { NameDeps } from '../names.ts';

/** rbd's `--skip-quiesce` and `--ignore-quiesce-error`. */
export const quiesceModes = ['required', 'ignore-error', 'skip'] as const;
export type QuiesceMode = (typeof quiesceModes)[number];

/** How long a command waits for the writer: its look at the header, its hook (30 s), its flush. */
export const quiescePatienceMs = 60_000;
/** Between two looks for the answer. */
const quiesceLookMs = 500;

/** Whether the image has a writer that wants to be asked. */
export const wantsQuiesce = (header: Header): boolean => ownerOf(header)?.quiesces === true;

export type Cut<T> = {
  mode: QuiesceMode;
  /** Throws what stands in the way of the snapshot anyway, before anybody is disturbed. */
  check: (header: Header) => unknown;
  /** Takes the snapshot of the header's head, in a swap whose change begins with `released`. */
  take: (stored: Stored<Header>, released: (header: Header) => Header) => Promise<T>;
};

/** A snapshot, with the writer quiesced if it wants to be asked. What the hook failed with, or ETIMEDOUT, when it is required. */
export async function takeQuiesced<T>(
  deps: ImageDeps,
  stored: Stored<Header>,
  { mode, check, take }: Cut<T>,
): Promise<T> {
  if (mode === 'skip' || !wantsQuiesce(stored.value)) return take(stored, (header) => header);
  check(stored.value);
  const request = { id: deps.random.uuid(), untilMs: deps.clock.nowMs() + quiescePatienceMs };
  try {
    const quiet = await untilQuiet(deps, stored, request).catch((error: unknown) => {
      if (mode === 'required') throw error;
    });
    const isSure = quiet !== undefined && wantsQuiesce(quiet.value) && mode === 'required';
    return await take(quiet ?? stored, (header) =>
      withoutRequest(isSure ? assertQuiet(header, request) : header, request),
    );
  } catch (error) {
    await withdrawRequest(deps, stored.value.imageId, request).catch(() => {}); // the writer does so itself, later
    throw error;
  }
}

type Request = Pick<QuiesceRequest, 'id' | 'untilMs'>;

/** Also when there is nobody to be asked any more. */
async function untilQuiet(deps: ImageDeps, first: Stored<Header>, request: Request): Promise<Stored<Header>> {
  for (let stored = first; ;) {
    if (!wantsQuiesce(stored.value)) return stored;
    const standing = stored.value.journal?.quiesce;
    if (standing?.id !== request.id) stored = await askToQuiesce(deps, stored, request);
    else if (standing.state === 'quiesced') return stored;
    else if (standing.state === 'failed') throw failureOf(stored.value, standing);
    if (deps.clock.nowMs() >= request.untilMs) throw tooLate(stored.value);
    await deps.clock.sleep(quiesceLookMs);
    stored = (await readHeader(deps, first.value.imageId)) ?? gone(first.value);
  }
}

function gone({ name }: Header): never {
  throw new FarsideError('ENOENT', `image ${name} was removed meanwhile`);
}

/** Leaves the request, unless somebody else's stands, who is still waiting. */
export async function askToQuiesce(deps: NameDeps, stored: Stored<Header>, request: Request): Promise<Stored<Header>> {
  const ask = (header: Header): Header | undefined => {
    const { journal } = header;
    const isBusy = journal?.quiesce !== undefined && deps.clock.nowMs() < journal.quiesce.untilMs;
    if (!journal || !wantsQuiesce(header) || isBusy) return undefined;
    return { ...header, journal: { ...journal, quiesce: { ...request, state: 'asked' } } };
  };
  return updateHeader(deps, stored, ask, { byMirroring: true });
}

/** For who takes a snapshot at a time that was set (a schedule): whether the writer has not answered, and there is time yet. Never waits. */
export async function awaitsQuiesce(deps: NameDeps, stored: Stored<Header>, request: Request): Promise<boolean> {
  if (!wantsQuiesce(stored.value) || deps.clock.nowMs() >= request.untilMs) return false;
  const standing = stored.value.journal?.quiesce;
  if (standing?.id === request.id) return standing.state === 'asked';
  await askToQuiesce(deps, stored, request);
  return true;
}

/** The header without this request: the writer may go on. */
export function withoutRequest(header: Header, { id }: Pick<Request, 'id'>): Header {
  if (header.journal?.quiesce?.id !== id) return header;
  const { quiesce: _, ...journal } = header.journal;
  return { ...header, journal };
}

/** Nothing happens when it is gone. */
export async function withdrawRequest(deps: NameDeps, imageId: string, request: Pick<Request, 'id'>): Promise<void> {
  await answerRequest(deps, imageId, request.id, undefined);
}

export type QuiesceAnswer = Pick<QuiesceRequest, 'seq' | 'failure'> & { state: 'quiesced' | 'failed' };

/** For the writer. Undefined: takes the request away. Whether it still stood. */
export async function answerRequest(
  deps: NameDeps,
  imageId: string,
  id: string,
  answer: QuiesceAnswer | undefined,
): Promise<boolean> {
  let stood = false;
  await updateHeader(
    deps,
    imageId,
    (header) => {
      const { journal } = header;
      const request = journal?.quiesce;
      stood = request?.id === id;
      if (!journal || !request || !stood) return undefined;
      return answer
        ? { ...header, journal: { ...journal, quiesce: { ...request, ...answer } } }
        : withoutRequest(header, { id });
    },
    { byMirroring: true },
  );
  return stood;
}

/** In the very swap that takes the snapshot: the writer may have given up waiting since. */
function assertQuiet(header: Header, request: Request): Header {
  if (isQuiet(header, request)) return header;
  throw new FarsideError('EAGAIN', `the writer of image ${header.name} did not hold still for long enough; try again`, {
    retry: 'later',
  });
}

function isQuiet({ journal }: Header, { id }: Pick<Request, 'id'>): boolean {
  const { quiesce, folded } = journal ?? {};
  return quiesce?.id === id && quiesce.state === 'quiesced' && quiesce.seq === folded?.seq;
}

/** For who takes a snapshot all the same: why the writer is not quiesced. Undefined: it is, or wants not to be asked. */
export function notQuiesced(header: Header, request: Pick<Request, 'id'>): QuiesceFailure | undefined {
  if (!wantsQuiesce(header) || isQuiet(header, request)) return undefined;
  const standing = header.journal?.quiesce;
  if (standing?.id !== request.id || standing.state === 'asked')
    return { code: 'ETIMEDOUT', message: 'the writer did not answer in time' };
  return standing.failure ?? { code: 'EAGAIN', message: 'the writer did not hold still for long enough' };
}

const ways = 'no snapshot was taken; --ignore-quiesce-error takes it all the same, --skip-quiesce without asking';

function failureOf(header: Header, { failure }: QuiesceRequest): FarsideError {
  const owner = ownerOf(header);
  const code = failure && failure.code in errnoOf ? (failure.code as ErrorCode) : 'EIO';
  const where = owner ? `${owner.locker} (${owner.address})` : 'the writer';
  return new FarsideError(
    code,
    `${where} could not quiesce image ${header.name}: ${failure?.message ?? 'it did not say why'}; ${ways}`,
  );
}

const tooLate = ({ name }: Header): FarsideError =>
  new FarsideError(
    'ETIMEDOUT',
    `the writer of image ${name} did not quiesce it within ${quiescePatienceMs / 1000} s; ${ways}`,
  );
