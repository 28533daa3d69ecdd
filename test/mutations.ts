// Damage to bytes, for fuzzing parsers: flipped, set, cut off, inserted, erased.

import fc from 'fast-check';

export type Mutation = { at: number; kind: 'flip' | 'set' | 'cut' | 'insert' | 'erase'; value: number };
export const mutations: fc.Arbitrary<Mutation[]> = fc.array(
  fc.record({
    at: fc.nat(),
    kind: fc.constantFrom('flip', 'set', 'cut', 'insert', 'erase'),
    value: fc.oneof(fc.nat({ max: 255 }), fc.constantFrom(0, 1, 0x7f, 0x80, 0xff)),
  }),
  { minLength: 1, maxLength: 4 },
);

export function mutated(given: Uint8Array, changes: readonly Mutation[]): Buffer {
  let bytes = Buffer.from(given);
  for (const { at: anywhere, kind, value } of changes) {
    const at = anywhere % Math.max(1, bytes.length);
    const [before, after] = [bytes.subarray(0, at), bytes.subarray(at)];
    if (kind === 'cut') bytes = Buffer.from(before);
    else if (kind === 'insert') bytes = Buffer.concat([before, Buffer.of(value), after]);
    else if (kind === 'erase') bytes = Buffer.concat([before, after.subarray(1)]);
    else
      bytes = Buffer.concat([
        before,
        Buffer.of(kind === 'flip' ? (after[0] ?? 0) ^ (value || 1) : value),
        after.subarray(1),
      ]);
  }
  return bytes;
}
