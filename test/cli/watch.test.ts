// `mirror pool status --watch`: in its place on a terminal, one after the other elsewhere, through failures.

import { afterEach, beforeEach, expect, test } from 'vitest';
import { run } from '../../lib/cli/run.ts';
import { watch } from '../../lib/cli/output/watch.ts';
import { FarsideError } from '../../lib/errors.ts';
import { Sessions } from './sessions.ts';
import { testTerminal } from './terminal.ts';

class Interrupted extends Error {}

/** Sleeps at once, so often; then the user interrupts. */
function clockOf(looks: number): { nowMs: () => number; sleep: (ms: number) => Promise<void>; sleptMs: number[] } {
  const sleptMs: number[] = [];
  const sleep = async (durationMs: number): Promise<void> => {
    if (sleptMs.length === looks) throw new Interrupted();
    sleptMs.push(durationMs);
  };
  return { nowMs: () => 0, sleep, sleptMs };
}

async function watched(answers: readonly (string | Error)[], isTTY: boolean): Promise<string> {
  const { terminal, stdout } = testTerminal();
  stdout.isTTY = isTTY;
  const rest = [...answers];
  const ask = async (): Promise<string> => {
    const answer = rest.shift()!;
    if (answer instanceof Error) throw answer;
    return answer;
  };
  const clock = clockOf(answers.length - 1);
  const watching = watch({ ...terminal, clock }, { every: 5, title: 'mirroring of rbd', ask });
  await expect(watching).rejects.toBeInstanceOf(Interrupted);
  expect(clock.sleptMs).toEqual(answers.slice(1).map(() => 5000));
  return stdout.text;
}

test('not on a terminal: one answer follows the other, each ends its line', async () => {
  expect(await watched(['health: OK\n', 'IMAGES'], false)).toBe('health: OK\nIMAGES\n');
});

test('on a terminal: an answer takes the place of the one before', async () => {
  const text = await watched(['health: OK\nimages: 1 total\n', 'health: WARNING\nimages: 1 total\n'], true);
  expect(text).toContain('every 5 s: mirroring of rbd');
  const [, second] = text.split('health: OK');
  // The cursor goes up, and what differs is written over.
  expect(second!.split('\u001B').some((part) => /^\[\d*[AF]/.test(part))).toBe(true);
  expect(text.match(/images: 1 total/g)!.length).toBeLessThanOrEqual(2);
  expect(text).toContain('health: WARNING');
});

const away = new FarsideError('ECONNREFUSED', 'site-a does not answer');

test('a failure after the first answer is told, and asked again', async () => {
  expect(await watched(['health: OK\n', away, 'health: OK\n'], false)).toBe(
    'health: OK\nfarside: site-a does not answer\nhealth: OK\n',
  );
});

test('a first question that fails ends it', async () => {
  const { terminal } = testTerminal();
  const ask = (): Promise<string> => Promise.reject(away);
  await expect(watch({ ...terminal, clock: clockOf(0) }, { every: 1, title: '', ask })).rejects.toBe(away);
});

let sessions: Sessions;
beforeEach(async () => {
  sessions = await Sessions.start();
  await sessions.pairSites();
});
afterEach(() => sessions.end());

test('mirror pool status --watch: every interval, in any format', async () => {
  const { terminal, stdout } = testTerminal({ env: { FARSIDE_HOME: sessions.home }, fetch: sessions.network.fetch });
  const clock = clockOf(2);
  const line = '--cluster site-a mirror pool status rbd --watch --interval 7 --format json';
  expect(await run(line.split(' '), { ...terminal, clock })).not.toBe(0);
  const answers = stdout.text
    .trim()
    .split('\n')
    .map((text) => JSON.parse(text) as { summary: { health: string } });
  expect(answers.map(({ summary }) => summary.health)).toEqual(['UNKNOWN', 'UNKNOWN', 'UNKNOWN']);
  expect(clock.sleptMs).toEqual([7000, 7000]);
  await sessions.session([
    ['--cluster site-a mirror pool status rbd --interval 7', 'farside: --interval is of use with --watch only\n', 22],
    [
      '--cluster site-a mirror pool status rbd --watch --interval 0',
      "farside: the argument ('0') for option '--interval' is invalid\n",
      1,
    ],
    [
      '--cluster site-a mirror pool status nopool --watch',
      "farside: error opening pool 'nopool': (2) No such file or directory\n",
      2,
    ],
  ]);
});
