// Mirroring between two embedded sites: the Worker that is deployed, on R2 and queues, in workerd.

import { describe } from 'vitest';
import { describeMirroring } from './mirror-scenarios.ts';

describe('mirroring between two sites in workerd:', () => {
  describeMirroring(async () => () => ({ platform: 'miniflare' }));
});
