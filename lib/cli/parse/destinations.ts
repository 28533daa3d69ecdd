// Owns how a command line names an image or a snapshot that is to be made: by a spec, or by `--dest` and its kind.

import { FarsideError } from '../../errors.ts';
import type { ImageSpec } from '../../image/deps.ts';
import type { Argument } from '../command.ts';
import { definedParts, parseImageSpec, type SpecParts } from './grammar.ts';
import { textOption } from './parameters.ts';

/** As rbd's: what else than a spec may name a destination. */
export const destinationOptions = {
  destPool: textOption('--dest-pool <pool>', 'destination pool name'),
  destNamespace: textOption('--dest-namespace <namespace>', 'destination namespace name'),
  dest: textOption('--dest <image>', 'destination image name'),
  destSnap: textOption('--dest-snap <snap>', 'destination snapshot name'),
};

/** The new name: a spec whose missing parts are the source's. It may be said by options instead (`destinationOptions`). */
export const destinationArgument = (what: 'image' | 'snap'): Argument<SpecParts> => ({
  placeholder: `dest-${what}-spec`,
  help: `destination ${what === 'image' ? 'image' : 'snapshot'} specification`,
  take: (words, _, own) => {
    const named = own as { [K in keyof typeof destinationOptions]?: string };
    const isNamed = (what === 'image' ? named.dest : named.destSnap) !== undefined;
    const word = named.dest ?? (isNamed ? undefined : words.shift());
    const { destPool: pool, destNamespace: namespace, destSnap: snap } = named;
    const parts = { ...definedParts({ pool, namespace, snap }), ...(word ? parseImageSpec(word) : {}) };
    if ((what === 'image' ? parts.image : (parts.snap ?? parts.image)) === undefined)
      throw new FarsideError('EINVAL', 'destination image name was not specified');
    if (what === 'image') refuseDestinationSnap(parts);
    return parts;
  },
});

export function refuseDestinationSnap<S extends SpecParts | ImageSpec>(spec: S): S {
  if (spec.snap !== undefined)
    throw new FarsideError('EINVAL', "destination snapshot name specified for a command that doesn't use it");
  return spec;
}
