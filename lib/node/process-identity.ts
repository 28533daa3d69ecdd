// Owns the answer to "is that still the same process?". A pid alone is reused; a pid with the time at which its process
// started (and, on Linux, the boot it belongs to) is not.

import { execFileSync } from 'node:child_process';
import { readFileSync, readlinkSync } from 'node:fs';

export type ProcessIdentity = { pid: number; started: string };

/**
 * Where pids mean the same thing. `machine` outlives a boot. What cannot be told is ''. Of two places that are not told apart by
 * anything, nothing is known.
 */
export type ProcessPlace = { machine: string; boot: string; pidNamespace: string };

/** Undefined when no such process runs (a zombie does not run). */
export function identifyProcess(pid: number): ProcessIdentity | undefined {
  const started = process.platform === 'linux' ? startedLinux(pid) : startedElsewhere(pid);
  return started === undefined ? undefined : { pid, started };
}

export function isRunning(identity: ProcessIdentity): boolean {
  return identifyProcess(identity.pid)?.started === identity.started;
}

/** Sends the signal only if the process is still the identified one. Returns whether it was sent. */
export function signalProcess(identity: ProcessIdentity, signal: NodeJS.Signals): boolean {
  if (!isRunning(identity)) return false;
  try {
    process.kill(identity.pid, signal);
    return true;
  } catch {
    return false;
  }
}

/** Fields of /proc/PID/stat after the last `)` (the name may hold anything): state is the first, start time the 20th. */
function startedLinux(pid: number): string | undefined {
  const stat = readIfThere(`/proc/${pid}/stat`);
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ');
  if (fields === undefined || fields[0] === 'Z' || fields[0] === 'X') return undefined;
  return `${readIfThere('/proc/sys/kernel/random/boot_id')?.trim() ?? ''}:${fields[19] ?? ''}`;
}

/** Where this process runs. Containers have pids of their own. */
export function processPlace(): ProcessPlace {
  return {
    machine: readIfThere('/etc/machine-id')?.trim() ?? '',
    boot: readIfThere('/proc/sys/kernel/random/boot_id')?.trim() ?? '',
    pidNamespace: linkIfThere('/proc/self/ns/pid') ?? '',
  };
}

function startedElsewhere(pid: number): string | undefined {
  try {
    return (
      execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8', env: { LC_ALL: 'C' } }).trim() ||
      undefined
    );
  } catch {
    return undefined;
  }
}

/** The command line of a process, its arguments joined by spaces; empty when it cannot be read. */
export function commandLine(pid: number): string {
  if (process.platform === 'linux') return (readIfThere(`/proc/${pid}/cmdline`) ?? '').replaceAll('\0', ' ').trim();
  try {
    return execFileSync('ps', ['-o', 'command=', '-p', String(pid)], { encoding: 'utf8' }).trim();
  } catch {
    return '';
  }
}

function linkIfThere(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

/** A file's text; undefined when there is none, or none to read. */
export function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
