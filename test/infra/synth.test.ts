// What an operator runs, up to the point where AWS would be asked: the CDK's command line on cdk.json, with a network that leads
// nowhere, without docker and without an account.

import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, expect, test } from 'vitest';

const root = join(import.meta.dirname, '../..');
const scratch = mkdtempSync(join(tmpdir(), 'farside-synth-'));
afterAll(() => rmSync(scratch, { recursive: true }));

const nowhere = 'http://127.0.0.1:9';
/** No credentials, no home with any, no way out. npx makes node Node 24 for whoever calls it; here this very one is first. */
const environment = {
  PATH: `${join(process.execPath, '..')}:${join(root, 'node_modules/.bin')}:/usr/bin:/bin`,
  HOME: scratch,
  HTTPS_PROXY: nowhere,
  HTTP_PROXY: nowhere,
  AWS_EC2_METADATA_DISABLED: 'true',
  NO_COLOR: '1',
  CI: 'true',
};

async function synth(...args: string[]): Promise<{ code: number; told: string }> {
  const cdk = join(root, 'node_modules/aws-cdk/bin/cdk');
  const words = [cdk, 'synth', '--quiet', '--output', join(scratch, 'out'), ...args];
  try {
    const { stdout, stderr } = await promisify(execFile)(process.execPath, words, { cwd: root, env: environment });
    return { code: 0, told: stdout + stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { code, told: stdout + stderr };
  }
}

test('cdk synth makes a site of one command, offline; its bundle has the three handlers and loads by itself', async () => {
  const { code, told } = await synth('-c', 'site=site-a');
  expect(told).not.toMatch(/\berror\b/i);
  expect(code).toBe(0);
  const out = join(scratch, 'out');
  expect(readdirSync(out)).toContain('farside-site-a.template.json');
  const assets = readdirSync(out).filter((name) => name.startsWith('asset.'));
  expect(assets).toHaveLength(1);
  const bundle = join(out, assets[0]!, 'index.mjs');
  expect(await namesExportedBy(bundle)).toEqual(['consume', 'http', 'schedule']);
  // Lambda takes 50 MB; what counts is the cold start.
  expect(readFileSync(bundle).length).toBeLessThan(3 * 1024 * 1024);
});

/** By a process of its own far from node_modules: nothing may be left that the bundle should have brought. */
async function namesExportedBy(bundle: string): Promise<string[]> {
  const script = join(scratch, 'names.mjs');
  writeFileSync(
    script,
    `globalThis.awslambda = { streamifyResponse: (handler) => handler };
     console.log(JSON.stringify(Object.keys(await import(process.argv[2]))));`,
  );
  const { stdout } = await promisify(execFile)(process.execPath, [script, bundle], { env: environment });
  return (JSON.parse(stdout) as string[]).toSorted();
}

test('cdk synth without a site, or with a wrong value, says what to give', async () => {
  const { code, told } = await synth('-c', 'rpoMinutes=soon');
  expect(code).not.toBe(0);
  expect(told).toContain('farside: site is missing; rpoMinutes must be a number of minutes: give it with -c');
});
