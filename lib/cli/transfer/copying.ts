// Owns what the commands `copy` and `deep copy` share: options, progress and words.

import type { ImageSpec } from '../../image/deps.ts';
import type { ImageMirrorMode } from '../client/client.ts';
import type { Context } from '../sites/context.ts';
import { askedCreation, creationOptions, mirrorNew } from '../parse/creation.ts';
import { poolDefault, type SpecParts } from '../parse/grammar.ts';
import { imageDeps } from '../sites/open-bucket.ts';
import { destinationArgument, destinationOptions } from '../parse/destinations.ts';
import { imageOrSnapArgument, sparseSizeOption } from '../parse/parameters.ts';
import { startProgress } from '../output/progress.ts';
import { copyAnew, copyAtSite, type CopyRequest } from './copy.ts';
import { framed, snapshotContextFrame } from '../output/wording.ts';

export const copyArguments = { source: imageOrSnapArgument, target: destinationArgument('image') };
export const copyOptions = {
  destPool: destinationOptions.destPool,
  destNamespace: destinationOptions.destNamespace,
  dest: destinationOptions.dest,
  ...creationOptions,
  sparseSize: sparseSizeOption,
};

type Given = {
  source: ImageSpec;
  target: SpecParts;
  deep: boolean;
  options: Parameters<typeof askedCreation>[0] & { mirrorMode: ImageMirrorMode | undefined };
};

export async function runCopy({ source, target, deep, options }: Given, context: Context): Promise<void> {
  const { terminal, general } = context;
  const [text, title] = deep ? ['deep copy failed', 'Image deep copy'] : ['copy failed', 'Image copy'];
  const client = await context.client();
  const found = await framed(snapshotContextFrame(text), () => client.imageInfo(source));
  await framed({ text, errno: true }, async () => {
    const { size: totalBytes, object_size: objectBytes } = found;
    const creation = askedCreation(options);
    const asked: CopyRequest = { source, target: targetOf(target), deep, creation };
    const progress = startProgress(terminal, general, { title, totalBytes });
    try {
      if ((creation.objectBytes ?? objectBytes) === objectBytes) await copyAtSite(client, asked, progress);
      else await copyAnew(imageDeps(await context.registration(), terminal), asked, progress);
    } finally {
      progress.stop();
    }
  });
  await mirrorNew(context, targetOf(target), options.mirrorMode);
}

const targetOf = ({ pool = poolDefault, namespace = '', image = '' }: SpecParts): ImageSpec => ({
  pool,
  namespace,
  image,
});
