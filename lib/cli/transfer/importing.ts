// Owns what the commands share that move a file, or standard input, into an image: it is opened, progress is shown while the work goes
// on, and both end with it, whatever comes.

import type { Context } from '../sites/context.ts';
import { startProgress, type Progress } from '../output/progress.ts';
import { openSource, type Source } from './source.ts';

export async function withSource<T>(
  { terminal, general }: Context,
  { path, title }: { path: string; title: string },
  work: (source: Source, progress: Progress) => Promise<T>,
): Promise<T> {
  const source = await openSource(path, terminal.stdin);
  const progress = startProgress(terminal, general, { title, totalBytes: source.sizeBytes });
  try {
    return await work(source, progress);
  } finally {
    progress.stop();
    await source.close();
  }
}
