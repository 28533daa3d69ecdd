// Owns what may be said about quiescing where a snapshot is taken (docs/nbd.md).

import type { QuiesceMode } from '../../image/journal/quiesce.ts';
import { switchOption } from './parameters.ts';

export const quiesceOptions = {
  skipQuiesce: switchOption('--skip-quiesce', 'do not run quiesce hooks'),
  ignoreQuiesceError: switchOption('--ignore-quiesce-error', 'ignore quiesce hook error'),
};

/** As rbd: skipping goes first. */
export const quiesceMode = (options: { skipQuiesce: boolean; ignoreQuiesceError: boolean }): QuiesceMode =>
  options.skipQuiesce ? 'skip' : options.ignoreQuiesceError ? 'ignore-error' : 'required';
