// Every recorded command of a real rbd, replayed on two sites: exit code, JSON, plain text and errors are what they were, but for
// the differences that are meant.

import { describe, expect, test } from 'vitest';
import { describeDifference, type Difference } from './compare.ts';
import { isOf, isPending, pending, permitted } from './differences.ts';
import { recordingNames } from './recording.ts';
import { replay } from './replay.ts';

const found: Difference[] = [];

describe('transcripts of a real rbd', { timeout: 240_000 }, () => {
  test.each(recordingNames)('%s: farside says the same', async (name) => {
    const differences = (await replay(name)).flatMap((replayed) => replayed.differences);
    found.push(...differences);
    const surprises = differences.filter((one) => !isPending(one) && !permitted.some((entry) => entry.is(one)));
    expect(surprises.map(describeDifference).join('\n')).toBe('');
  });

  test('every permitted difference still occurs; what is pending and came is named', () => {
    const came = pending.filter((entry) => !found.some((one) => isOf(one, entry)));
    for (const { what, recording } of came) process.stderr.write(`no longer pending in ${recording}: ${what}\n`);
    const gone = permitted.filter((entry) => !found.some((one) => !isPending(one) && entry.is(one)));
    expect(gone.map(({ what }) => what)).toEqual([]);
  });
});
