// Owns the embedded site: the Worker that would be deployed, in workerd, with Miniflare's R2 and queue. Cron ticks come from
// outside (run-site.ts), as Cloudflare's would.
//
// Objects are durable when acknowledged. Queued messages live in workerd's memory and are lost with it; the next tick finds
// their work. No workerd outlives this process (workerd-guard.ts).

import { convertV4MiniflareOptions, Log, LogLevel, Miniflare, type V4MiniflareOptions } from 'miniflare';
import { mkdirSync, rmSync } from 'node:fs';
import { FarsideError } from '../../lib/errors.ts';
import { deliverySettings } from '../../lib/site/delivery.ts';
import { checkPortFree, loopback } from './free-port.ts';
import type { LocalSiteOptions, RunningSite } from './local-site.ts';
import { sitePaths } from './site-directory.ts';
import { bundleWorker, workerCompatibility } from './worker-bundle.ts';
import { killLeftoverWorkerd, recordedWorkerdEnv, startGuard } from './workerd-guard.ts';

export const queueName = 'farside';
export const deadLetterQueueName = 'farside-dead';

/** `inspectorPort`: for measurements of the Worker's memory. */
export async function startMiniflareSite(
  options: LocalSiteOptions,
  measured: { inspectorPort?: number } = {},
): Promise<RunningSite> {
  const paths = sitePaths(options.directory);
  await killLeftoverWorkerd(paths.workerdPid);
  rmSync(paths.temporary, { recursive: true, force: true });
  for (const folder of [paths.temporary, paths.state]) mkdirSync(folder, { recursive: true, mode: 0o700 });
  await checkPortFree(options.port);
  const guard = startGuard(paths.workerdPid);
  const restoreEnv = setEnv({ ...recordedWorkerdEnv(paths.workerdPid), TMPDIR: paths.temporary });
  const miniflare = createMiniflare({ ...miniflareOptions(options, await bundleWorker()), ...measured });
  const stop = async (): Promise<void> => {
    await miniflare.dispose();
    guard.dismiss();
    rmSync(paths.workerdPid, { force: true });
    restoreEnv();
  };
  try {
    return { tick: await tickOf(miniflare), stop };
  } catch (cause) {
    await stop();
    throw cause;
  }
}

/** Miniflare and what it starts read the process's own environment. Returns what puts it back: its TMPDIR may be gone then. */
function setEnv(variables: Record<string, string>): () => void {
  const before = Object.keys(variables).map((name) => [name, process.env[name]] as const);
  Object.assign(process.env, variables);
  return () => {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  };
}

/** Resolves once the Worker answers that it is well. */
async function tickOf(miniflare: Miniflare): Promise<RunningSite['tick']> {
  await miniflare.ready;
  const worker = await miniflare.getWorker();
  const health = await worker.fetch('http://site/health');
  if (!health.ok) throw new FarsideError('EIO', `the Worker does not start: ${await health.text()}`);
  return async (nowMs) => {
    const { outcome } = await worker.scheduled({ scheduledTime: new Date(nowMs), cron: '* * * * *' });
    if (outcome !== 'ok') throw new FarsideError('EIO', `the Worker's scheduled handler ended with '${outcome}'`);
  };
}

const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Miniflare ends the process at a signal, at once; here a signal begins an orderly stop (site-start.ts). */
function createMiniflare(options: V4MiniflareOptions): Miniflare {
  const before = new Map(signals.map((signal) => [signal, process.listeners(signal)]));
  const miniflare = new Miniflare(convertV4MiniflareOptions(options));
  for (const signal of signals) {
    for (const listener of process.listeners(signal)) {
      if (!before.get(signal)?.includes(listener)) process.removeListener(signal, listener);
    }
  }
  return miniflare;
}

export function miniflareOptions(
  { directory, port, config, log }: LocalSiteOptions,
  script: string,
): V4MiniflareOptions {
  const paths = sitePaths(directory);
  return {
    host: loopback,
    port,
    cf: false,
    telemetry: { enabled: false },
    log: new Log(LogLevel.ERROR),
    handleStructuredLogs: ({ message }) => log(message),
    resourcePersistencePath: paths.state,
    name: 'farside',
    modules: true,
    script,
    compatibilityDate: workerCompatibility.date,
    compatibilityFlags: workerCompatibility.flags,
    r2Buckets: { BUCKET: 'bucket' },
    queueProducers: { QUEUE: { queueName } },
    queueConsumers: queueConsumers(),
    bindings: {
      SITE_NAME: config.name,
      SITE_URL: config.url,
      SITE_PLATFORM: config.platform,
      DEAD_LETTER_QUEUE: deadLetterQueueName,
      FARSIDE_ADMIN_TOKEN_HASH: config.adminTokenHash,
      FARSIDE_SECRET: config.secret,
      FARSIDE_TUNING: JSON.stringify({ limits: config.limits, settings: config.settings }),
    },
  };
}

/** The settings of wrangler.toml. */
function queueConsumers() {
  const batch = { maxBatchSize: deliverySettings.batchMessagesMax, maxBatchTimeout: deliverySettings.batchWaitSeconds };
  return {
    [queueName]: {
      ...batch,
      maxRetries: deliverySettings.retriesMax,
      retryDelay: deliverySettings.retryDelaySeconds,
      deadLetterQueue: deadLetterQueueName,
    },
    [deadLetterQueueName]: {
      ...batch,
      maxRetries: deliverySettings.deadLetterRetriesMax,
      retryDelay: deliverySettings.deadLetterRetryDelaySeconds,
    },
  };
}
