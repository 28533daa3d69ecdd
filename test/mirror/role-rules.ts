// The rules that every state of the model must satisfy, stated over true histories only (role-model.ts), never over mirror
// snapshots: a rule says what must be decided, not how the code finds out.

import { isOrphanMarker } from '../../lib/mirror/roles/history.ts';
import { decisionOf, isPrefix, isPrimary, stateOf } from './role-model.ts';
import type { ModelSite, World } from './role-model.ts';

/** The first rule that a world breaks, if any. */
export function brokenRule(world: World): string | undefined {
  if (world.breach) return world.breach;
  if (!world.forced && world.sites.filter(isPrimary).length > 1) return 'two sites are writable, and nobody used force';
  for (const [at, site] of world.sites.entries()) {
    const broken = brokenList(site) ?? firstOf(world, at, (from) => brokenDecision(world, at, from));
    if (broken) return `site ${at}: ${broken}`;
  }
  return undefined;
}

const isPulled = (world: World, at: number, from: number): boolean =>
  from !== at && (world.chain !== true || Math.abs(from - at) === 1);

const firstOf = (world: World, at: number, check: (from: number) => string | undefined): string | undefined =>
  world.sites
    .map((_, from) => (isPulled(world, at, from) ? check(from) : undefined))
    .find((broken) => broken !== undefined);

/** The mirror snapshots of an image lie on one line that leads to its head. */
function brokenList(site: ModelSite): string | undefined {
  const lines = [...site.snapshots.filter((s) => !isOrphanMarker(s)).map((s) => site.lines[s.id]!), site.head];
  return lines.every((line, index) => isPrefix(lines[index - 1] ?? [], line))
    ? undefined
    : 'the mirror snapshots are not on one line';
}

/** The newest point that a site offers, its own or a copy. */
function offeredLine(site: ModelSite): { line: readonly string[]; primary: boolean } | undefined {
  const newest = site.snapshots.at(-1);
  if (!newest || isOrphanMarker(newest)) return undefined;
  return { line: site.lines[newest.id]!, primary: stateOf(site) === 'primary' };
}

/**
 * A site that is not primary follows a primary exactly when nothing that happened to it is missing there. If something is:
 * split-brain, until the user asks for a resync. With more than two sites, a link to a third one may have been pruned, or
 * never been there, so then a needless split-brain is allowed (never the opposite); but not in a chain, as long as nobody used force.
 */
function brokenDecision(world: World, at: number, from: number): string | undefined {
  const [here, there] = [world.sites[at]!, world.sites[from]!];
  const decision = decisionOf(world, at, from);
  const said = decision.kind === 'stop' ? decision.reason : decision.kind;
  const offered = offeredLine(there);
  if (isPrimary(here)) return said === 'local-primary' ? undefined : `a primary decided ${said}`;
  if (!offered?.primary) return brokenWithoutPrimary(here, offered, said);
  if (here.resync || here.running?.resync)
    return said === 'sync' && decision.kind === 'sync' && decision.resync
      ? undefined
      : `resync was asked for, but it decided ${said}`;
  const follows = isPrefix(here.head, offered.line);
  const caughtUp = follows && here.head.length === offered.line.length;
  const right = !here.image ? 'sync' : caughtUp ? 'idle' : follows ? 'sync' : 'split-brain';
  if (said === right) return undefined;
  const isPruned = world.sites.length > 2 && (world.forced || world.chain !== true);
  const lenient = isPruned && said === 'split-brain' && follows;
  return lenient ? undefined : `it decided ${said} where ${right} is right`;
}

/** From a site that is not primary there is nothing to take but the newest point that it holds, and only by who lacks nothing of it. */
function brokenWithoutPrimary(
  here: ModelSite,
  offered: ReturnType<typeof offeredLine>,
  said: string,
): string | undefined {
  if (said !== 'sync') return undefined;
  if (offered && (isPrefix(here.head, offered.line) || here.resync || here.running?.resync)) return undefined;
  return 'it goes to a point that does not descend from its own';
}
