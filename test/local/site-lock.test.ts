import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { identifyProcess, isRunning, signalProcess } from '../../lib/node/process-identity.ts';
import { lockHolder, lockSite } from '../../infra/local/site-lock.ts';
import { assert } from '../../lib/errors.ts';

let directory: string;
const children: ChildProcess[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'farside lock '));
});

afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  rmSync(directory, { recursive: true });
});

/** A process that takes the lock and holds it until it is killed; answers its pid or the code of its failure. */
async function startHolder(): Promise<{ child: ChildProcess; answer: string }> {
  const module = join(import.meta.dirname, '../../infra/local/site-lock.ts');
  const script = `import(${JSON.stringify(module)}).then(({ lockSite }) => {
    try { lockSite(${JSON.stringify(directory)}); console.log(process.pid); setInterval(() => {}, 1000); }
    catch (error) { console.log(error.code); }
  });`;
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  assert(child.stdout !== null, 'stdout is a pipe');
  const [data] = await once(child.stdout, 'data');
  return { child, answer: String(data).trim() };
}

describe('site lock', () => {
  test('a second server on the directory is refused with EBUSY that names the pid of the first', () => {
    const lock = lockSite(directory);
    expect(() => lockSite(directory)).toThrow(`(pid ${process.pid})`);
    expect(lockHolder(directory)?.pid).toBe(process.pid);
    lock.release();
    expect(lockHolder(directory)).toBeUndefined();
    lockSite(directory).release();
    expect(readdirSync(directory)).toEqual([]);
  });

  test('the lock of a killed process is taken over', async () => {
    const { child, answer } = await startHolder();
    expect(lockHolder(directory)?.pid).toBe(Number(answer));
    expect(() => lockSite(directory)).toThrow(`(pid ${answer})`);
    child.kill('SIGKILL');
    await once(child, 'exit');
    lockSite(directory).release();
  });

  test('of many processes that take over one abandoned lock, exactly one wins', async () => {
    writeFileSync(join(directory, 'site.lock'), JSON.stringify({ pid: 4_000_000, started: 'long ago', nonce: 'x' }));
    const answers = (await Promise.all(Array.from({ length: 6 }, startHolder))).map(({ answer }) => answer);
    expect(answers.filter((answer) => answer === 'EBUSY')).toHaveLength(5);
    expect(answers).toContain(String(lockHolder(directory)?.pid));
  });

  test('a lock that names a living pid with another start time is abandoned: the pid was reused', () => {
    writeFileSync(join(directory, 'site.lock'), JSON.stringify({ pid: process.pid, started: 'long ago', nonce: 'x' }));
    expect(lockHolder(directory)).toBeUndefined();
    lockSite(directory).release();
  });

  test('half a lock is abandoned', () => {
    writeFileSync(join(directory, 'site.lock'), '{"pid":');
    lockSite(directory).release();
  });

  test('releasing leaves the lock of a successor alone', () => {
    const first = lockSite(directory);
    rmSync(join(directory, 'site.lock'));
    const second = lockSite(directory);
    first.release();
    expect(lockHolder(directory)?.pid).toBe(process.pid);
    second.release();
  });
});

describe('process identity', () => {
  test('a process that was killed does not run, and gets no signal', async () => {
    const child = spawn('sleep', ['60']);
    children.push(child);
    const identity = identifyProcess(child.pid ?? 0);
    assert(identity !== undefined, 'the child runs');
    expect(isRunning(identity)).toBe(true);
    expect(signalProcess({ ...identity, started: 'other' }, 'SIGKILL')).toBe(false);
    expect(isRunning(identity)).toBe(true);
    expect(signalProcess(identity, 'SIGKILL')).toBe(true);
    await once(child, 'exit');
    expect(isRunning(identity)).toBe(false);
    expect(signalProcess(identity, 'SIGKILL')).toBe(false);
  });
});
