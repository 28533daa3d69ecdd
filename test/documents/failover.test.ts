// docs/failover.md is true: its commands, run in its order by a shell on two sites of their own, say what it shows.

import { afterAll, expect, test } from 'vitest';
import { systemClock } from '../../lib/clock.ts';
import type { Said } from '../cli/shell.ts';
import { compareText } from '../transcripts/compare.ts';
import { Identities } from '../transcripts/identities.ts';
import { readSteps, type DocumentStep } from './document.ts';
import { OwnShell } from './own-shell.ts';

const waitMs = 90_000;
const lookEveryMs = 200;

const shell = new OwnShell();
afterAll(() => shell.end());

const identities = new Identities();

/** What the answer and the document disagree about. A start says where the site is, which the document leaves out. */
function disagreement({ line, said }: DocumentStep, { exitCode, stdout, stderr }: Said): unknown {
  const text = stdout + stderr;
  const isRefused = said.startsWith('farside: ');
  const shown = line.startsWith('farside site start') ? text.replace(/^site-\w+ is up: .*\n/, '') : text;
  const differences = compareText(said, shown, identities);
  return differences.length === 0 && (exitCode !== 0) === isRefused ? undefined : { line, exitCode, text, differences };
}

async function runStep(step: DocumentStep): Promise<void> {
  const endMs = systemClock.nowMs() + (step.waits ? waitMs : 0);
  for (;;) {
    const found = disagreement(step, await shell.run(step.line));
    if (found === undefined) return;
    if (systemClock.nowMs() >= endMs) throw new Error(JSON.stringify(found, undefined, 2));
    await systemClock.sleep(lookEveryMs);
  }
}

test('failover.md: every command says what the document shows', { timeout: 300_000 }, async () => {
  const steps = readSteps('failover.md');
  expect(steps.length).toBeGreaterThan(45);
  for (const step of steps) await runStep(step);
});
