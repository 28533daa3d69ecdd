// Owns the life of a process that serves images over NBD: open, listen, look after the images every second, and an end that loses
// nothing. It ends when it is told to, or when its last writable image was taken away.

import { FarsideError } from '../../errors.ts';
import { addressUri, type Address } from '../../nbd/listen.ts';
import { startNbdServer, type NbdServer, type TlsSettings } from '../../nbd/server.ts';
import { describeFailure } from '../output/failure.ts';
import { formatBytes } from '../parse/grammar.ts';
import { closeExport, exportSource, type ImageExport } from './exports.ts';

const lookEveryMs = 1000;
/** Longer than a bucket that takes nothing is waited for, and a hook: whoever is not done so long after the bucket last took something never will be. */
const closeWaitMs = 90_000;
/** Clients that asked for something get their answer within that time, or none. */
const deviceStopMs = 75_000;
/** An end that takes longer says what it is waiting for. */
const tellAfterMs = 5000;

export type Serving = {
  exports: readonly ImageExport[];
  address: Address;
  tls: TlsSettings | undefined;
  note: (line: string) => void;
  /** Resolves when the process is asked to end. */
  ended: Promise<unknown>;
  /** For tests: how long an image may take to be given back. */
  closeWaitMs?: number;
};

/** What whoever started it is told; `uri` names the export. */
export type Announced = { name: string; description: string; uri: string };

/**
 * Serves until the end, and gives every image back. ESHUTDOWN: an image was taken away. Whatever else keeps an image from being
 * given back is thrown when all were tried: what is durable of it is in its journal, for whoever attaches it next.
 */
export async function serveExports(
  serving: Serving,
  announce: (served: readonly Announced[], server: NbdServer) => Promise<void> | void,
): Promise<void> {
  const { exports, address, tls, note } = serving;
  const lost = new Map<string, FarsideError>();
  const looking = lookAfter(exports, lost, note);
  let server: NbdServer | undefined;
  try {
    server = await startNbdServer({
      exports: exportSource(exports),
      addresses: [address],
      ...(tls && { tls }),
      limits: { deviceStopMs },
      report: (error) => note(describeFailure(error).text.trimEnd()),
    });
    await announce(exports.map(announcedBy(server, tls)), server);
    await Promise.race([serving.ended, looking.allLost]);
  } finally {
    // An image that is being given back is not one that was taken away.
    looking.stop();
    for (const { image } of exports) image?.writing.patience.hurry();
    const telling = setTimeout(
      () => note(`farside: still detaching: ${leftBehind(exports)}; a second signal ends it at once`),
      tellAfterMs,
    );
    // Or a bucket that does not answer would not be noticed to have taken too long.
    const waking = setInterval(() => exports.forEach(({ image }) => void image?.maintain()), lookEveryMs);
    try {
      // What a device fails with at its last flush, closing the image says too.
      await server?.stop().catch((error: unknown) => tellHung(error, note));
      await closeAll(exports, lost, serving.closeWaitMs ?? closeWaitMs);
    } finally {
      clearInterval(waking);
      clearTimeout(telling);
    }
  }
}

const announcedBy =
  (server: NbdServer, tls: TlsSettings | undefined) =>
  ({ name, description }: ImageExport): Announced => ({ name, description, uri: uriOf(server, name, tls) });

function uriOf(server: NbdServer, name: string, tls: TlsSettings | undefined): string {
  const [address] = server.addresses;
  return addressUri(address!, tls?.mode === 'required' ? 'nbds' : 'nbd', name);
}

/** `allLost` resolves when nothing is left to serve: every image was taken away. */
function lookAfter(
  exports: readonly ImageExport[],
  lost: Map<string, FarsideError>,
  note: (line: string) => void,
): { allLost: Promise<void>; stop: () => void } {
  const writable = exports.filter(({ image }) => image !== undefined);
  const { promise, resolve } = Promise.withResolvers<void>();
  const look = ({ name, image }: ImageExport): void => {
    void image?.maintain();
    if (!image?.failure || lost.has(name)) return;
    lost.set(name, image.failure);
    note(`farside: ${name}: ${image.failure.message}`);
    if (lost.size === writable.length && writable.length === exports.length) resolve();
  };
  const looking = setInterval(() => writable.forEach(look), lookEveryMs);
  return { allLost: promise, stop: () => clearInterval(looking) };
}

function tellHung(error: unknown, note: Serving['note']): void {
  if (error instanceof FarsideError && error.code === 'ETIMEDOUT') note(`farside: ${error.message}`);
}

async function closeAll(
  exports: readonly ImageExport[],
  lost: ReadonlyMap<string, FarsideError>,
  waitMs: number,
): Promise<void> {
  const closed = await Promise.allSettled(exports.map((one) => closeInTime(one, waitMs)));
  const failures = closed.flatMap((one, index) =>
    one.status === 'rejected' ? [notGivenBack(exports[index]!, one.reason)] : [],
  );
  for (const failure of [...failures, ...lost.values()]) throw failure;
}

async function closeInTime(one: ImageExport, waitMs: number): Promise<void> {
  const late = Promise.withResolvers<never>();
  const why = `a request to its bucket has not come back within ${waitMs / 1000} s`;
  const takenAtMs = (): number | undefined => one.image?.writing.patience.takenAtMs;
  let before = takenAtMs();
  const timer = setInterval(() => {
    if (takenAtMs() === before) late.reject(new FarsideError('ETIMEDOUT', why));
    before = takenAtMs(); // it took something meanwhile: once more
  }, waitMs);
  await Promise.race([closeExport(one), late.promise]).finally(() => clearInterval(timer));
}

function notGivenBack({ name, log }: ImageExport, cause: unknown): FarsideError {
  const why = cause instanceof Error ? cause.message : String(cause);
  const code = cause instanceof FarsideError ? cause.code : 'EIO';
  return new FarsideError(
    code,
    `${name} was not detached: ${why}\n${flushedText(log !== undefined)}, what was written after the last flush may be lost: attach it again, or 'farside lock ls' and 'farside lock rm' it`,
    { cause },
  );
}

/** Where what a client was told is durable is found again. */
const flushedText = (isLogged: boolean): string =>
  isLogged
    ? "what was flushed is in its journal and in the write-ahead log, which the next 'nbd serve' here with the same --wal brings there"
    : 'what was flushed is in its journal';

/** What a server that ends now leaves behind. Nothing that was promised is lost. */
function leftBehind(exports: readonly ImageExport[]): string {
  const pendingBytes = exports.reduce((sum, { image }) => sum + (image?.writing.pendingBytes ?? 0), 0);
  const pending = formatBytes(pendingBytes);
  return exports.some(({ log }) => log !== undefined)
    ? `what was flushed is in the bucket or in the write-ahead log, which the next 'nbd serve' here with the same --wal brings there (${pending} is not in the bucket yet)`
    : `what was flushed is in the bucket (${pending} that was not flushed is not)`;
}

/** For whoever ends the process at once. */
export const lastWords = (exports: readonly ImageExport[]): string =>
  `farside: ended at once, as by a crash: ${leftBehind(exports)}; the next server on this machine takes the images over`;
