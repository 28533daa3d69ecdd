// Owns the check of a map: every node of it is read and verified, and every block that it names is present in some copy of its
// pack. The content of blocks is not read: export does that.

import { FarsideError } from '../errors.ts';
import type { ImageDeps, ImageSpec } from '../image/deps.ts';
import { walk } from '../image/map/diff.ts';
import { findUserSnapshot } from '../image/info.ts';
import type { Pack } from '../image/packs/pack-store.ts';
import type { Context } from './sites/context.ts';
import { imageDeps } from './sites/open-bucket.ts';
import { startProgress, type Progress } from './output/progress.ts';
import { openReadable } from './transfer/export.ts';
import { framed, snapshotContextFrame } from './output/wording.ts';

const nodesPerStepMax = 4096;

const words = {
  check: { title: 'Object map check', text: 'checking object map failed' },
  rebuild: { title: 'Object map rebuild', text: 'rebuilding object map failed' },
} as const;

/** `object-map check` and `rebuild`: a map is content, so there is nothing to rebuild it from. */
export async function runMapCheck(verb: keyof typeof words, spec: ImageSpec, context: Context): Promise<void> {
  const { title, text } = words[verb];
  const { terminal, general } = context;
  const client = await context.client();
  const { size: totalBytes } = await framed(snapshotContextFrame(text), () => client.imageInfo(spec));
  await framed({ text, errno: true, owns: 'EBADMSG' }, async () => {
    const progress = startProgress(terminal, general, { title, totalBytes });
    try {
      await checkMap(imageDeps(await context.registration(), terminal), spec, progress);
    } finally {
      progress.stop();
    }
  });
}

/** EBADMSG: naming the pack, and the node or block. ENOENT: no such image or snapshot. */
async function checkMap(deps: ImageDeps, spec: ImageSpec, progress: Pick<Progress, 'update'>): Promise<void> {
  const { header, store } = await openReadable(deps, spec);
  const { root } = spec.snap === undefined ? header : findUserSnapshot(header, spec.snap);
  const { objectBytes } = header;
  for (let fromOffset: number | null = 0; fromOffset !== null;) {
    const blocks: { pack: Pack; entryIndex: number }[] = [];
    const onEntry = (pack: Pack, entryIndex: number, kind: 'block' | 'node'): void => {
      if (kind === 'block') blocks.push({ pack, entryIndex });
    };
    const step = { store, objectBytes, wanted: [root], held: [], fromOffset, nodesMax: nodesPerStepMax, onEntry };
    const { next }: { next: number | null } = await walk(step);
    for (const { pack, entryIndex } of blocks) {
      if (await store.has(pack, entryIndex)) continue;
      throw new FarsideError(
        'EBADMSG',
        `block ${entryIndex} of pack ${pack.packId} of image ${header.name} is not there`,
      );
    }
    progress.update(next ?? header.sizeBytes);
    fromOffset = next;
  }
}
