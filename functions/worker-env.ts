// Owns what a Worker is given from outside: bindings, secrets and vars, checked once per isolate. A wrong one is an EINVAL
// that names it and the command that sets it, never its value.

import type { Queue as QueueBinding, R2Bucket } from '@cloudflare/workers-types';
import { z } from 'zod';
import { FarsideError } from '../lib/errors.ts';

/** A binding is an object of the runtime with the methods that farside calls. */
const binding = <T>(method: string) =>
  z.custom<T>((value) => typeof value === 'object' && value !== null && method in value, 'is not bound');

const envSchema = z.object({
  BUCKET: binding<R2Bucket>('put'),
  QUEUE: binding<QueueBinding>('sendBatch'),
  SITE_NAME: z.string().min(1),
  SITE_URL: z.url(),
  SITE_PLATFORM: z.string().default('cloudflare'),
  /** Name of the queue whose batches are dead letters. */
  DEAD_LETTER_QUEUE: z.string().min(1),
  FARSIDE_ADMIN_TOKEN_HASH: z.string().regex(/^[0-9a-f]{64}$/, 'must be the SHA-256 of the admin token, in hex'),
  FARSIDE_SECRET: z.base64().min(44, 'must be at least 32 random bytes, in base64'),
  FARSIDE_TUNING: z.string().optional(),
});
export type WorkerEnv = z.infer<typeof envSchema>;

const howToSet: Partial<Record<string, string>> = {
  FARSIDE_ADMIN_TOKEN_HASH: 'wrangler secret put FARSIDE_ADMIN_TOKEN_HASH',
  FARSIDE_SECRET: 'wrangler secret put FARSIDE_SECRET',
};

export function parseEnv(env: unknown): WorkerEnv {
  const parsed = envSchema.safeParse(env);
  if (parsed.success) return parsed.data;
  const faults = parsed.error.issues.map((issue) => describeFault(String(issue.path[0] ?? 'env'), issue.message));
  throw new FarsideError('EINVAL', `this site is not configured: ${faults.join('; ')}`);
}

function describeFault(name: string, message: string): string {
  return `${name} ${message.startsWith('Invalid') ? 'is missing or invalid' : message} (${howToSet[name] ?? 'see wrangler.toml'})`;
}
