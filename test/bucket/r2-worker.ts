// A Worker that shows an R2 bucket through the store endpoint, so that the suite in `conformance.ts` reaches R2Driver
// inside workerd. `r2.test.ts` bundles and runs it.

import type { R2Bucket } from '@cloudflare/workers-types';

import { R2Driver } from '../../lib/bucket/r2.ts';
import { storeRoutes } from '../../lib/site/api/store.ts';

type WorkerEnv = { Bindings: { BUCKET: R2Bucket } };

// oxlint-disable-next-line import/no-default-export -- workerd runs a module's default export
export default storeRoutes<WorkerEnv>({
  storeOf: (c) => new R2Driver(c.env.BUCKET),
  authorize: () => undefined,
  isKey: () => true,
});
