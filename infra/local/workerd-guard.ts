// Owns the promise that no workerd outlives the process that started it, not even one that was killed with SIGKILL.
//
// Miniflare starts workerd through workerd-recorded.sh, which records the pid. A guard process holds the reading end of a pipe
// from this process: when this process dies, however, the guard reads end-of-file and kills the recorded pid. If the guard
// was killed too, the next start on the directory finds the record and kills what is left, after checking that it is workerd.

import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { systemClock } from '../../lib/clock.ts';
import { commandLine, identifyProcess, isRunning } from '../../lib/node/process-identity.ts';

const goneWaitMs = 10;
const goneWaitsMax = 500;

/** What the environment of Miniflare must hold so that it starts workerd through the recording script. */
export function recordedWorkerdEnv(pidFile: string): Record<string, string> {
  return {
    MINIFLARE_WORKERD_PATH: fileURLToPath(new URL('workerd-recorded.sh', import.meta.url)),
    FARSIDE_WORKERD: workerdPath(),
    FARSIDE_WORKERD_PID_FILE: pidFile,
  };
}

/** The workerd that Miniflare would start: workerd is its dependency, not ours. */
function workerdPath(): string {
  const fromMiniflare = createRequire(createRequire(import.meta.url).resolve('miniflare'));
  const workerd: { default: string } = fromMiniflare('workerd');
  return workerd.default;
}

const guardScript = `
read -r _
pid=$(cat "$1") || exit 0
case "$(cat "/proc/$pid/cmdline" 2>/dev/null || ps -o command= -p "$pid")" in *workerd*) kill -KILL "$pid" ;; esac
`;

export type Guard = { dismiss(): void };

/** In its own session, so that a Ctrl-C on the terminal does not reach it. */
export function startGuard(pidFile: string): Guard {
  const guard: ChildProcess = spawn('/bin/sh', ['-c', guardScript, 'farside-guard', pidFile], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  });
  guard.on('error', () => undefined);
  guard.unref();
  return { dismiss: () => void guard.kill('SIGKILL') };
}

/** Kills the workerd that a former server on this directory left behind, and waits until it is gone. */
export async function killLeftoverWorkerd(pidFile: string): Promise<void> {
  const pid = recordedPid(pidFile);
  const leftover = pid === undefined ? undefined : identifyProcess(pid);
  if (leftover !== undefined && commandLine(leftover.pid).includes('workerd')) {
    process.kill(leftover.pid, 'SIGKILL');
    for (let waits = 0; waits < goneWaitsMax && isRunning(leftover); waits += 1) await systemClock.sleep(goneWaitMs);
  }
  rmSync(pidFile, { force: true });
}

export function recordedPid(pidFile: string): number | undefined {
  try {
    const pid = Number(readFileSync(pidFile, 'utf8'));
    return Number.isSafeInteger(pid) && pid > 0 ? pid : undefined;
  } catch {
    return undefined;
  }
}
