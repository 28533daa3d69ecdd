// Owns what a site is told by whoever runs it. Checked by the runtime (environment, file), used by Site.

import { z } from 'zod';

import type { Settings } from '../image/deps.ts';
import type { Limits } from '../mirror/limits.ts';

/** Where a bucket is, for whoever has credentials of their own. */
export const storePlaceSchema = z.object({
  kind: z.literal('s3'),
  bucket: z.string().min(1),
  region: z.string().min(1),
  /** Of a server that is not AWS. */
  endpoint: z.url().optional(),
  pathStyle: z.boolean().optional(),
});
export type StorePlace = z.infer<typeof storePlaceSchema>;

export type SiteConfig = {
  name: string;
  /** Where peers and clients reach the site, without a slash at the end. */
  url: string;
  /** `node`, `cloudflare` …: shown, never decided upon. */
  platform: string;
  /** SHA-256 (hex) of the admin token. */
  adminTokenHash: string;
  /** Base64 of at least 32 random bytes; seals the keys that are shown to peers. */
  secret: string;
  /**
   * The bucket, where others reach it themselves: clients read and write image data there with their own credentials, and
   * peers are sent there for packs. Left out: all data goes through the site.
   */
  store?: StorePlace;
  limits?: Partial<Limits>;
  settings?: Partial<Settings>;
};
