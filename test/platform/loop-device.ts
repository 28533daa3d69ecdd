// Owns the question whether this machine lets a test make a block device of a file: root and a kernel with loop devices. Most
// containers do not, so its absence is told and never a failure.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findTool } from '../require.ts';

export type LoopDevices = { attach(file: string): string; detach(device: string): void };

/** Undefined, and the reason is printed: not here. */
export function findLoopDevices(): LoopDevices | undefined {
  const losetup = findTool('losetup');
  const told = losetup === undefined ? 'losetup is not installed' : tryOut(losetup);
  if (losetup !== undefined && told === undefined) return devicesOf(losetup);
  process.stderr.write(`skipping tests: no loop devices here: ${told}\n`);
  return undefined;
}

const devicesOf = (losetup: string): LoopDevices => ({
  attach: (file) => execFileSync(losetup, ['--find', '--show', '--read-only', file], { encoding: 'utf8' }).trim(),
  detach: (device) => void execFileSync(losetup, ['--detach', device]),
});

/** What stands in the way. */
function tryOut(losetup: string): string | undefined {
  const directory = mkdtempSync(join(tmpdir(), 'farside-loop-'));
  try {
    const file = join(directory, 'file');
    writeFileSync(file, Buffer.alloc(1024 * 1024));
    const devices = devicesOf(losetup);
    devices.detach(devices.attach(file));
    return undefined;
  } catch (cause) {
    return cause instanceof Error ? (cause.message.split('\n').at(1) ?? cause.message) : String(cause);
  } finally {
    rmSync(directory, { recursive: true });
  }
}
