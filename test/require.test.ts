import { afterEach, expect, test, vi } from 'vitest';
import { findTool, requireTool } from './require.ts';

afterEach(() => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
});

test('a tool that is there is found, even where PATH does not look', () => {
  vi.stubEnv('PATH', '/bin');
  expect(findTool('sh')).toBe('/bin/sh');
  expect(requireTool('sh')).toBe(true);
});

test('a missing tool skips its suite and says so once, with the package to install', () => {
  vi.stubEnv('FARSIDE_REQUIRE_ALL', '');
  const written = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
  expect([requireTool('no-such-tool'), requireTool('no-such-tool')]).toEqual([false, false]);
  expect(written).toHaveBeenCalledTimes(1);
  expect(written.mock.lastCall?.[0]).toContain('apt-get install');
});

test('where all is required a missing tool is a failure', () => {
  vi.stubEnv('FARSIDE_REQUIRE_ALL', '1');
  expect(() => requireTool('no-such-tool')).toThrow('no-such-tool is not installed');
});
