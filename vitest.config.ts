import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    pool: 'forks',
    // Vitest leaves one processor to itself, and would run all on the other of two. Many of these tests wait for processes.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    globalSetup: ['test/radosgw/global.ts'],
  },
});
