// Owns who a process is that attaches an image: what the header says of it, and whether one that the header names is gone for
// certain, so that its image may be taken over. Anything uncertain counts as alive: a living writer is pushed off by force only.

import { hostname } from 'node:os';
import type { Clock } from '../clock.ts';
import type { JournalOwner } from '../image/header.ts';
import type { Random } from '../random.ts';
import { identifyProcess, isRunning, processPlace, type ProcessPlace } from './process-identity.ts';

type Recorded = ProcessPlace & { started: string };

/** This process, as a client of its own: `lock ls` shows `client.4277`, `auto 17592…`, `host:0/<pid>`. */
export function attachOwner({ clock, random }: { clock: Clock; random: Random }): JournalOwner {
  const numbers = Buffer.from(random.bytes(8));
  const recorded: Recorded = { ...processPlace(), started: identifyProcess(process.pid)?.started ?? '' };
  return {
    lockId: `auto ${numbers.readUInt32LE(0)}`,
    locker: `client.${numbers.readUInt32LE(4) >>> 1}`,
    address: `${hostname().slice(0, 200)}:0/${process.pid}`,
    sinceMs: clock.nowMs(),
    process: JSON.stringify(recorded),
  };
}

/** Whether the owner was a process of this very machine that does not run any more. */
export function isOwnerGone(owner: JournalOwner): boolean {
  const [, host, pid] = /^(.*):0\/(\d{1,9})$/.exec(owner.address) ?? [];
  const then = parseRecorded(owner.process);
  if (host !== hostname().slice(0, 200) || pid === undefined || then === undefined || then.started === '') return false;
  return isGoneFrom(processPlace(), then, Number(pid));
}

/**
 * | machine | boot | pid namespace | |
 * |---|---|---|---|
 * | same | another | any | it started anew since |
 * | any | same | same | the process tells |
 * | any | same | another | a container next door: unknown |
 */
export function isGoneFrom(here: ProcessPlace, then: Recorded, pid: number): boolean {
  if (here.boot !== then.boot) return here.machine !== '' && here.machine === then.machine;
  return here.pidNamespace === then.pidNamespace && !isRunning({ pid, started: then.started });
}

function parseRecorded(text: string | undefined): Recorded | undefined {
  try {
    const value = JSON.parse(text ?? '') as Partial<Record<keyof Recorded, unknown>> | null;
    const { machine, boot, pidNamespace, started } = value ?? {};
    const isWhole = [machine, boot, pidNamespace, started].every((field) => typeof field === 'string');
    return isWhole ? ({ machine, boot, pidNamespace, started } as Recorded) : undefined;
  } catch {
    return undefined;
  }
}
