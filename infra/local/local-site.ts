// Owns what the platforms of a local site have in common: what they are given, and what a running one can do.

import type { SiteConfig } from '../../lib/site/config.ts';
import type { LocalS3 } from './site-directory.ts';

export type LocalSiteOptions = {
  directory: string;
  port: number;
  config: SiteConfig;
  /** Of the aws platform. */
  s3?: LocalS3 | undefined;
  /** Undefined: queues in memory. */
  sqsEndpoint?: string | undefined;
  log: (line: string) => void;
};

export type RunningSite = {
  tick(nowMs: number): Promise<void>;
  /** Lets what runs finish, within a few seconds; nothing that was acknowledged is lost either way. */
  stop(): Promise<void>;
};
