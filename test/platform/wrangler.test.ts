import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { experimental_readRawConfig } from 'wrangler';
import { workerCompatibility } from '../../infra/local/worker-bundle.ts';
import { deliverySettings } from '../../lib/site/delivery.ts';

const root = join(import.meta.dirname, '../..');
const { rawConfig } = experimental_readRawConfig({ config: join(root, 'wrangler.toml') });
const siteNames = ['site-a', 'site-b'];

test.each(siteNames)('wrangler deploy --dry-run accepts %s, offline', async (name) => {
  const scratch = mkdtempSync(join(tmpdir(), 'farside-wrangler-'));
  const wrangler = join(root, 'node_modules/wrangler/bin/wrangler.js');
  const env = { ...process.env, CI: 'true', WRANGLER_SEND_METRICS: 'false', XDG_CONFIG_HOME: scratch, NO_COLOR: '1' };
  const args = [wrangler, 'deploy', '--dry-run', '--env', name, '--outdir', join(scratch, 'out')];
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: root, env });
  expect(stdout).toContain('--dry-run: exiting now');
  expect(stdout).toContain(`env.QUEUE (farside-${name})`);
  expect(stdout).not.toContain('WARNING');
  expect(existsSync(join(scratch, 'out', 'worker.js'))).toBe(true);
  rmSync(scratch, { recursive: true });
});

test.each(siteNames)(
  '%s delivers with the numbers that every runtime shares, and its dead letters have a consumer',
  (name) => {
    const site = rawConfig.env?.[name];
    const batch = {
      max_batch_size: deliverySettings.batchMessagesMax,
      max_batch_timeout: deliverySettings.batchWaitSeconds,
    };
    expect(site?.queues?.consumers).toEqual([
      {
        ...batch,
        queue: `farside-${name}`,
        max_retries: deliverySettings.retriesMax,
        retry_delay: deliverySettings.retryDelaySeconds,
        max_concurrency: 20,
        dead_letter_queue: `farside-${name}-dead`,
      },
      {
        ...batch,
        queue: `farside-${name}-dead`,
        max_retries: deliverySettings.deadLetterRetriesMax,
        retry_delay: deliverySettings.deadLetterRetryDelaySeconds,
        max_concurrency: 1,
      },
    ]);
    expect(site?.vars).toMatchObject({ SITE_NAME: name, DEAD_LETTER_QUEUE: `farside-${name}-dead` });
    expect(site?.triggers).toEqual({ crons: ['* * * * *'] });
  },
);

test('the embedded site runs with the compatibility of the deployed one', () => {
  expect({ date: rawConfig.compatibility_date, flags: rawConfig.compatibility_flags }).toEqual(workerCompatibility);
});

test('no secret stands in the configuration', () => {
  expect(readFileSync(join(root, 'wrangler.toml'), 'utf8')).not.toMatch(/^\s*FARSIDE_(?:SECRET|ADMIN_TOKEN_HASH)\s*=/m);
});
