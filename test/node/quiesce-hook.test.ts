// A quiesce hook is a program that is run: with these very arguments, not by a shell, and not for longer than its time.

import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, expect, test } from 'vitest';
import { quiesceHook } from '../../lib/node/quiesce-hook.ts';

const directory = mkdtempSync(join(tmpdir(), 'farside-hook-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function program(name: string, ...lines: string[]): string {
  const path = join(directory, name);
  writeFileSync(path, ['#!/bin/sh', ...lines, ''].join('\n'));
  chmodSync(path, 0o755);
  return path;
}

test('it is given what is attached and what to do, each as one word, whatever is in them', async () => {
  const said = join(directory, 'said');
  const hook = quiesceHook(program('tell', `printf '%s\\n' "$#" "$1" "$2" >> ${said}`), 'rbd/vm $(touch pwned); x');
  await hook('quiesce');
  await hook('unquiesce');
  const call = (action: string): string => `2\nrbd/vm $(touch pwned); x\n${action}\n`;
  expect(readFileSync(said, 'utf8')).toBe(call('quiesce') + call('unquiesce'));
});

test('an exit status is an errno, as of rbd, with what it said; another is an input/output error', async () => {
  const failing = quiesceHook(program('fail', 'echo not now >&2', 'exit 16'), 'rbd/vm');
  await expect(failing('quiesce')).rejects.toMatchObject({
    code: 'EBUSY',
    message: expect.stringContaining('not now'),
  });
  await expect(quiesceHook(program('odd', 'exit 99'), 'rbd/vm')('quiesce')).rejects.toMatchObject({ code: 'EIO' });
  await expect(quiesceHook(program('shot', 'kill -9 $$'), 'rbd/vm')('quiesce')).rejects.toMatchObject({ code: 'EIO' });
  await expect(quiesceHook(join(directory, 'absent'), 'rbd/vm')('quiesce')).rejects.toMatchObject({ code: 'ENOENT' });
});

test('one that does not end is killed after its time, with what it started', async () => {
  const late = join(directory, 'late');
  const hook = quiesceHook(program('hang', `(sleep 2; touch ${late}) &`, 'sleep 60'), 'rbd/vm', 300);
  await expect(hook('quiesce')).rejects.toMatchObject({ code: 'ETIMEDOUT' });
  await sleep(2500);
  expect(() => readFileSync(late)).toThrow('ENOENT');
});

test('one that leaves something running in the background ends when it does itself', async () => {
  const hook = quiesceHook(program('leave', 'sleep 3 &', 'exit 0'), 'rbd/vm', 2000);
  await expect(hook('quiesce')).resolves.toBeUndefined();
});
