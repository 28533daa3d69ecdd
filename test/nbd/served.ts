// Servers for tests, on Unix sockets in directories of their own, and real clients that are run against them. Everything is stopped
// and removed after each test.

import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach } from 'vitest';
import { startNbdServer, type NbdServer, type NbdServerOptions } from '../../lib/nbd/server.ts';
import { findTool } from '../require.ts';
import { MemoryExports, type MemoryDevice } from './memory-device.ts';
import { RawClient } from './raw-client.ts';

const toolWaitMs = 50_000;
const outputBytesMax = 256 * 1024 * 1024;
const waitPollMs = 5;

const servers = new Set<NbdServer>();
const directories = new Set<string>();

afterEach(async () => {
  const stopped = await Promise.allSettled([...servers].map((server) => server.stop()));
  servers.clear();
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
  directories.clear();
  for (const one of stopped) if (one.status === 'rejected') throw one.reason;
});

/** Removed after the test. */
export function scratchDirectory(): string {
  const { directory } = makeDirectory();
  directories.add(directory);
  return directory;
}

export function makeDirectory(): { directory: string; remove: () => void } {
  const directory = mkdtempSync(join(tmpdir(), 'farside-nbd-'));
  return { directory, remove: () => rmSync(directory, { recursive: true, force: true }) };
}

export type Served = {
  server: NbdServer;
  uri: string;
  directory: string;
  /** What the server reported, and no client was told in full. */
  failures: unknown[];
  client: () => Promise<RawClient>;
};

/** Serves devices on a Unix socket; the first is the default export. */
export async function serve(
  devices: Record<string, MemoryDevice> | MemoryExports,
  options: Partial<NbdServerOptions> = {},
): Promise<Served> {
  const directory = scratchDirectory();
  const failures: unknown[] = [];
  const server = await startNbdServer({
    exports: devices instanceof MemoryExports ? devices : new MemoryExports(devices),
    addresses: [{ path: join(directory, 'nbd.sock') }],
    report: (error) => failures.push(error),
    ...options,
  });
  servers.add(server);
  const client = (): Promise<RawClient> => RawClient.connect(server.addresses[0]!);
  return { server, uri: server.uri, directory, failures, client };
}

/** A stop that is expected to fail is the test's. */
export const forget = (server: NbdServer): boolean => servers.delete(server);

export type ToolResult = { code: number; stdout: string; stderr: string };

/** Runs a program to its end. */
export function runTool(name: string, words: readonly string[], env: Record<string, string> = {}): Promise<ToolResult> {
  const path = findTool(name) ?? name;
  return new Promise((resolve, reject) => {
    const options = { timeout: toolWaitMs, maxBuffer: outputBytesMax, env: { ...process.env, ...env } };
    execFile(path, [...words], options, (error, stdout, stderr) => {
      if (error && typeof error.code !== 'number') reject(new Error(`${name} ${words.join(' ')}: ${error.message}`));
      else resolve({ code: error ? Number(error.code) : 0, stdout, stderr });
    });
  });
}

/** As `runTool`; answers what it printed, and throws when it fails. */
export async function toolOk(
  name: string,
  words: readonly string[],
  env: Record<string, string> = {},
): Promise<string> {
  const { code, stdout, stderr } = await runTool(name, words, env);
  if (code !== 0) throw new Error(`${name} ${words.join(' ')}: exit ${code}\n${stdout}${stderr}`);
  return stdout;
}

export async function until(isTrue: () => boolean, what: string, waitMs = 10_000): Promise<void> {
  for (let waitedMs = 0; !isTrue(); waitedMs += waitPollMs) {
    if (waitedMs > waitMs) throw new Error(`still not so after ${waitMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, waitPollMs));
  }
}
