// Owns what operators do in a simulation to whole pools, and to replicas to try a failover out.

import { featuresDefault } from '../../lib/image/features.ts';
import type { ImageSpec } from '../../lib/image/deps.ts';
import { updateMirroredFeatures } from '../../lib/mirror/verbs/by-feature.ts';
import { enablePool } from '../../lib/mirror/verbs/pool-mode.ts';
import { cleanUpTestFailovers, startTestFailover } from '../../lib/mirror/verbs/test-failover.ts';
import type { ImageTruth } from './truth/image-truth.ts';
import type { Dice } from './dice.ts';
import { changes } from './image-view.ts';
import { Operation, type Effect } from './operation.ts';
import type { Command } from './workload.ts';

/** Removed by one clean-up, at most. */
const testsMax = 8;

/** Where: the site, and the image or its whole pool. */
type Place = { siteName: string; spec: ImageSpec };

/** Mode `pool` mirrors images for their features. */
export function switchMode(dice: Dice, { siteName, spec: { pool, namespace } }: Place): Command {
  const mode = dice.pick(['pool', 'pool', 'image']);
  const operation = new Operation({
    what: `pool mode ${mode}`,
    siteName,
    imageName: '',
    effects: [],
  });
  return { operation, where: 'site', run: (deps) => enablePool(deps, pool, mode, { namespace }) };
}

/** The feature that says so. */
export function switchJournaling(dice: Dice, { siteName, spec }: Place, truth: ImageTruth | undefined): Command {
  const isOn = truth?.header.features.includes('journaling') === true;
  const action = isOn === dice.chance(0.9) ? 'disable' : 'enable';
  const none: Effect = { type: 'write', change: changes.none };
  const effects: Effect[] = action === 'enable' ? [none, { type: 'enable' }] : [none, { type: 'disable' }];
  const operation = new Operation({
    what: `journaling ${action} ${spec.image}`,
    siteName,
    imageName: spec.image,
    effects,
    mayRefuseLate: true,
  });
  return {
    operation,
    where: 'site',
    run: (deps) => updateMirroredFeatures(deps, spec, ['journaling'], action),
  };
}

export const featuresOfNew = (isJournaling: boolean): string[] =>
  isJournaling ? [...featuresDefault, 'journaling'] : [...featuresDefault];

export function tryFailover({ siteName, spec }: Place, name: string): Command {
  const operation = new Operation({
    what: `test failover ${spec.image} as ${name}`,
    siteName,
    imageName: name,
    effects: [{ type: 'clone' }],
    mustLand: true,
    mayRefuseLate: true,
  });
  return {
    operation,
    where: 'site',
    run: (deps) => startTestFailover(deps, spec, { ...spec, image: name }),
  };
}

export function endTests({ siteName, spec }: Place): Command {
  const effects = Array.from({ length: testsMax }, (): Effect => ({ type: 'remove' }));
  const what = `test clean-up ${spec.image}`;
  const operation = new Operation({ what, siteName, imageName: '', effects, mayRefuseLate: true });
  return { operation, where: 'site', run: (deps) => cleanUpTestFailovers(deps, spec) };
}
