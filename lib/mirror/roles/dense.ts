// Owns finding the end of a dense, write-once sequence (a feed's records, an epoch's slots) by looking at single numbers.

/** The first free number at or after `from`, all before `from` being taken. About twice log₂ of the distance in looks. */
export async function firstFree(from: number, isTaken: (seq: number) => Promise<boolean>): Promise<number> {
  let stride = 1;
  let low = from; // everything before is taken
  while (await isTaken(low + stride - 1)) {
    low += stride;
    stride *= 2;
  }
  let high = low + stride - 1; // free
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (await isTaken(middle)) low = middle + 1;
    else high = middle;
  }
  return low;
}
