// Mirroring between two sites in plain Node, as processes of their own.

import { describe } from 'vitest';
import { describeMirroring } from './mirror-scenarios.ts';

describe('mirroring between two node sites:', () => {
  describeMirroring(async () => () => ({ platform: 'node' }));
});
