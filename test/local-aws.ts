// Owns npm's fauxqs for tests: an SQS that is good, and an S3 that takes conditional writes and ignores their conditions. In
// this process, on loopback only (its own start listens everywhere).

import { buildApp } from 'fauxqs';

export type LocalAws = { endpoint: string; stop(): Promise<unknown> };

export async function startLocalAws(): Promise<LocalAws> {
  const app = buildApp({ logger: false });
  const endpoint = await app.listen({ port: 0, host: '127.0.0.1' });
  return { endpoint, stop: () => app.close() };
}
