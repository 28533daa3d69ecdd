// Owns waiting for several works to the end of all, whatever becomes of them: nothing goes on in the background afterwards, and memory
// that they share may be used again.

/** What they gave, in their order. Throws the first failure, but not before the last has settled. */
export async function allDone<T>(works: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(works);
  return Promise.all(works);
}
