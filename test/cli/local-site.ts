// A site in a directory of its own, with pool `rbd`, as the CLI's data path sees it: straight into the bucket's files.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { imageDeps } from '../../lib/cli/sites/open-bucket.ts';
import { registerSite, type Registration } from '../../lib/cli/sites/registry.ts';
import { run } from '../../lib/cli/run.ts';
import type { ImageDeps } from '../../lib/image/deps.ts';
import { limitsDefault } from '../../lib/mirror/limits.ts';
import { createPool } from '../../lib/mirror/pool.ts';
import { testTerminal } from './terminal.ts';

export type CliResult = { exitCode: number; stdout: Buffer; stderr: string };
export type CliOptions = { stdin?: Uint8Array; isTTY?: boolean; env?: NodeJS.ProcessEnv };

export type LocalSite = {
  /** For files of the test. */
  root: string;
  deps(): ImageDeps;
  cli(words: string[], options?: CliOptions): Promise<CliResult>;
  remove(): Promise<void>;
};

export async function localSite(): Promise<LocalSite> {
  const root = await mkdtemp(join(tmpdir(), 'farside-transfer-'));
  const site: Registration = {
    name: 'a',
    url: 'http://127.0.0.1:9',
    token: 't',
    platform: 'node',
    directory: join(root, 'site'),
  };
  await registerSite(join(root, 'home'), site);
  const deps = (): ImageDeps => imageDeps(site, testTerminal().terminal);
  await createPool(
    { ...deps(), limits: limitsDefault },
    { names: async () => [], add: async () => {}, remove: async () => {} },
    'rbd',
  );
  return {
    root,
    deps,
    cli: async (words, options = {}) => {
      const env = { ...options.env, FARSIDE_HOME: join(root, 'home') };
      const { terminal, stdout, stderr } = testTerminal({ ...options, env });
      return { exitCode: await run(words, terminal), stdout: stdout.bytes, stderr: stderr.text };
    },
    remove: () => rm(root, { recursive: true }),
  };
}
