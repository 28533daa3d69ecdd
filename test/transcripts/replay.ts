// Replays a recording: brings the sites to where it begins, then runs its commands one after the other.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../../lib/clock.ts';
import { compareStep, type Difference } from './compare.ts';
import { Identities } from './identities.ts';
import { readRecording, type RecordingName, type Step } from './recording.ts';
import type { Said } from '../cli/shell.ts';
import { World } from './world.ts';
import { xmlDisagreement } from './xml-agrees.ts';

/** A pause of the recording that is not the duration of its commands was meant: the sites' time moves on by it. */
const pauseSecondsMin = 3;
const pollWaitMs = 30_000;
const pollEveryMs = 25;

export type Replayed = { step: Step; said: Said; differences: Difference[] };

export async function replay(recording: RecordingName): Promise<Replayed[]> {
  const world = await World.start(['site-a', 'site-b']);
  try {
    if (recording === 'b-image') await introduce(world);
    const steps = readRecording(recording);
    const identities = new Identities();
    const replayed: Replayed[] = [];
    for (const [index, step] of steps.entries()) {
      const before = steps[index - 1];
      const pause = step.atSeconds - (before?.atSeconds ?? 0);
      if (pause > pauseSecondsMin) world.clock.advance(pause);
      if (pause > pauseSecondsMin || !reportsOnly(before?.line)) await world.settle();
      replayed.push(await replayStep(world, step, identities));
    }
    return replayed;
  } finally {
    await world.stop();
  }
}

async function replayStep(world: World, step: Step, identities: Identities): Promise<Replayed> {
  const endMs = systemClock.nowMs() + (step.waits ? pollWaitMs : 0);
  for (;;) {
    const said = await world.run(identities.localize(step.line));
    const differences = [...compareStep(step, said, identities), ...(await compareXml(world, step, said, identities))];
    if (differences.length === 0 || systemClock.nowMs() >= endMs) return { step, said, differences };
    await systemClock.sleep(pollEveryMs);
    await world.settle();
  }
}

/** After a command that changes nothing there is nothing to wait for. */
const reportsOnly = (line = ''): boolean =>
  /^rbd \S+ \S+ (?:mirror (?:pool|image) )?(?:info|status|ls|snap ls|mirror snapshot schedule (?:ls|status)) /.test(
    line,
  );

/** Nobody recorded XML. It has to say what JSON says. */
async function compareXml(world: World, step: Step, said: Said, identities: Identities): Promise<Difference[]> {
  if (said.exitCode !== 0 || !step.line.includes('--format json') || step.line.includes('mirror image snapshot'))
    return [];
  const xml = await world.run(identities.localize(step.line.replace('--format json', '--format xml')));
  const actual =
    xml.exitCode === 0 ? xmlDisagreement(JSON.parse(said.stdout), xml.stdout) : `exit code ${xml.exitCode}`;
  return actual === undefined ? [] : [{ step, where: 'xml', actual }];
}

/** The recording of images begins with two sites that mirror a pool both ways. */
async function introduce(world: World): Promise<void> {
  const token = join(world.home, 'files', 'token');
  await world.run('rbd --cluster site-a pool create mirror');
  await world.run('rbd --cluster site-b pool create mirror');
  await world.run('rbd --cluster site-a mirror pool enable --site-name site-a mirror image');
  writeFileSync(token, (await world.run('rbd --cluster site-a mirror pool peer bootstrap create mirror')).stdout);
  await world.run('rbd --cluster site-b mirror pool peer bootstrap import --site-name site-b mirror token');
  world.startReplaying();
}
