// Owns the progress bar of a transfer: on stderr, on a terminal only, unless `--no-progress`. Elsewhere it is silent.

import { SingleBar } from 'cli-progress';
import { formatBytes } from '../parse/grammar.ts';
import type { GeneralOptions, Terminal } from '../sites/context.ts';

/** What a transfer tells while it runs. `transferredBytes` is the position in the image, holes included. */
export type Progress = { update(transferredBytes: number): void; stop(): void };

const silent: Progress = { update: () => {}, stop: () => {} };

type ProgressOptions = { title: string; totalBytes: number | undefined };

export function startProgress(
  terminal: Terminal,
  general: Pick<GeneralOptions, 'progress'>,
  { title, totalBytes }: ProgressOptions,
): Progress {
  if (!general.progress || terminal.stderr.isTTY !== true) return silent;
  const format =
    totalBytes === undefined
      ? `${title}: {done} {rate}/s`
      : `${title}: {bar} {percentage}% {done} of {all} {rate}/s ETA {eta_formatted}`;
  const bar = new SingleBar({
    format,
    stream: terminal.stderr,
    hideCursor: true,
    etaBuffer: 50,
    clearOnComplete: false,
  });
  const startedAtMs = terminal.clock.nowMs();
  const payload = (bytes: number): object => {
    const seconds = Math.max(0.001, (terminal.clock.nowMs() - startedAtMs) / 1000);
    return {
      done: formatBytes(bytes),
      all: formatBytes(totalBytes ?? 0),
      rate: formatBytes(Math.round(bytes / seconds)),
    };
  };
  bar.start(totalBytes ?? 0, 0, payload(0));
  return { update: (bytes) => bar.update(bytes, payload(bytes)), stop: () => bar.stop() };
}
