// Owns waiting for works that share memory: until all have settled, whatever became of them.

/** Throws the first failure, but not before the last has settled. */
export async function allDone(works: readonly Promise<unknown>[]): Promise<void> {
  const failure = (await Promise.allSettled(works)).find((one) => one.status === 'rejected');
  if (failure) throw failure.reason;
}
