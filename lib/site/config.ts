// Owns what a site is told by whoever runs it. Checked by the runtime (environment, file), used by Site.

import type { Settings } from '../image/deps.ts';
import type { Limits } from '../mirror/deps.ts';

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
  limits?: Partial<Limits>;
  settings?: Partial<Settings>;
};
