// Owns asking a site for one bounded step after another, until it is done.

import { FarsideError } from '../../errors.ts';
import type { Progress } from '../output/progress.ts';
import type { Stepped } from './shapes.ts';

/** Steps that found something in their way, one after another, before the command gives up. */
const standstillsMax = 20;

export async function untilDone(progress: Pick<Progress, 'update'>, step: () => Promise<Stepped>): Promise<void> {
  for (let before = -1, standstills = 0; ;) {
    const { done, fromOffset } = await step();
    progress.update(fromOffset);
    if (done) return;
    standstills = fromOffset > before ? 0 : standstills + 1;
    before = fromOffset;
    if (standstills > standstillsMax)
      throw new FarsideError('EAGAIN', 'the image keeps changing; run the same command again', { retry: 'later' });
  }
}
