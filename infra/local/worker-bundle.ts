// Owns the making of one script from functions/worker.ts, as wrangler would at deployment. Made afresh at every start, in
// memory: it takes a tenth of a second, and so an embedded site always runs the farside that started it.

import { build, stop } from 'esbuild';
import { fileURLToPath } from 'node:url';
import { assert } from '../../lib/errors.ts';

export const workerCompatibility = { date: '2026-10-01', flags: ['nodejs_compat'] };

export async function bundleWorker(): Promise<string> {
  const result = await build({
    entryPoints: [fileURLToPath(new URL('../../functions/worker.ts', import.meta.url))],
    bundle: true,
    format: 'esm',
    target: 'es2024',
    platform: 'neutral',
    mainFields: ['module', 'main'],
    conditions: ['workerd', 'worker', 'import'],
    external: ['node:*', 'cloudflare:*'],
    write: false,
    logLevel: 'silent',
  });
  await stop();
  const script = result.outputFiles[0]?.text;
  assert(script !== undefined, 'esbuild answered without a script');
  return script;
}
