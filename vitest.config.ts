import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    pool: 'forks',
    // Vitest leaves one processor to itself, and would run all on the other of two. Many of these tests wait for processes.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    // Of the many processes that tests start, of the CLI mostly.
    env: { NODE_COMPILE_CACHE: join(import.meta.dirname, 'node_modules/.cache/farside') },
    globalSetup: ['test/radosgw/global.ts'],
  },
});
