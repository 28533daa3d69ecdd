// Owns the threads of this process: one pool for all work that is handed off the event loop (thread.ts). They start with the first
// task, end when idle, and never hold the process alive.

import { availableParallelism } from 'node:os';
import { Piscina } from 'piscina';
import type * as tasks from './thread.ts';

const threadsMax = 4;
const idleMs = 10_000;
/** Receiving waits for the network most of the time. */
const tasksPerThread = 4;

let pool: Piscina | undefined;

/** Runs one of thread.ts's functions on a thread. What it answers is copied, but for shared memory. */
export async function onThread<Name extends keyof typeof tasks>(
  name: Name,
  task: Parameters<(typeof tasks)[Name]>[0],
): Promise<Awaited<ReturnType<(typeof tasks)[Name]>>> {
  pool ??= new Piscina({
    filename: new URL('thread.ts', import.meta.url).href,
    minThreads: 0,
    maxThreads: Math.max(1, Math.min(availableParallelism(), threadsMax)),
    concurrentTasksPerWorker: tasksPerThread,
    idleTimeout: idleMs,
    resourceLimits: { maxYoungGenerationSizeMb: 2 },
    // A thread that blocks while it waits for a task could not receive.
    atomics: 'disabled',
  });
  return (await pool.run(task, { name })) as Awaited<ReturnType<(typeof tasks)[Name]>>;
}
