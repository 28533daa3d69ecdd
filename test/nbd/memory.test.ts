import { expect, test } from 'vitest';
import { PayloadMemory } from '../../lib/nbd/memory.ts';

const KiB = 1024;

test('memory that was given back is used again for what fits, and is exactly as long as asked for', () => {
  const memory = new PayloadMemory(1024 * KiB);
  const first = memory.take(200 * KiB);
  expect(first.length).toBe(200 * KiB);
  memory.give(first);
  expect(memory.keptBytes).toBe(256 * KiB);
  const second = memory.take(256 * KiB);
  expect(second.length).toBe(256 * KiB);
  expect(second.buffer === first.buffer).toBe(true);
  expect(memory.keptBytes).toBe(0);
  expect(memory.take(256 * KiB).buffer === first.buffer).toBe(false);
});

test('no more is kept than may be, and nothing for requests without payload', () => {
  const memory = new PayloadMemory(512 * KiB);
  for (const taken of [1, 2, 3].map(() => memory.take(256 * KiB))) memory.give(taken);
  expect(memory.keptBytes).toBe(512 * KiB);
  memory.give(memory.take(0));
  expect(memory.keptBytes).toBe(512 * KiB);
});
