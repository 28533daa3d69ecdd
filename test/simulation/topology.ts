// Owns who mirrors to whom in a simulation: two sites, one way or both; of three, one that feeds two, a chain, or one that
// receives from two. Each may have links that go both ways.

import type { Dice } from './dice.ts';
import type { SimulatedSite } from './simulated-site.ts';

type Link = { from: SimulatedSite; to: SimulatedSite; isTwoWay: boolean };

export function drawTopology(dice: Dice, sites: readonly SimulatedSite[]): Link[] {
  const [first, second, third] = sites;
  if (!first || !second) return [];
  const link = (from: SimulatedSite, to: SimulatedSite, twoWayShare: number): Link => ({
    from,
    to,
    isTwoWay: dice.chance(twoWayShare),
  });
  if (!third) return [link(first, second, 0.6)];
  return dice.pick([
    () => [link(first, second, 0.3), link(first, third, 0.3)],
    () => [link(first, second, 0.5), link(second, third, 0.3)],
    () => [link(first, second, 0.5), link(first, third, 0), link(second, third, 0)],
  ])();
}
