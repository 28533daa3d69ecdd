// What every operation of mirroring is handed.

import type { ImageDeps } from '../image/deps.ts';
import type { Limits } from './limits.ts';
import type { Queue } from './messages.ts';
import type { PeerConnector } from './peer-protocol.ts';

/** This site, as its peers see it. `seal` encrypts a text with the site's secret, so that the bucket alone does not betray it. */
export type SiteIdentity = {
  /** The `fsid` of bootstrap tokens. */
  siteId: string;
  name: string;
  url: string;
  /** What `mirror pool status` shows where rbd shows the version of its daemon. */
  version?: string;
  seal(text: string): Promise<string>;
  unseal(sealed: string): Promise<string>;
};

export type MirrorDeps = ImageDeps & { queue: Queue; site: SiteIdentity; peers: PeerConnector; limits: Limits };
