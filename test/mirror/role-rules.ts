// The rules that every state of the model must satisfy, stated over true histories only (role-model.ts), never over mirror
// snapshots: a rule says what must be decided, not how the code finds out.

import { isCopy, isOrphanMarker } from '../../lib/mirror/history.ts';
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

const firstOf = (world: World, at: number, check: (from: number) => string | undefined): string | undefined =>
  world.sites.map((_, from) => (from === at ? undefined : check(from))).find((broken) => broken !== undefined);

/** The mirror snapshots of an image lie on one line that leads to its head. */
function brokenList(site: ModelSite): string | undefined {
  const lines = [...site.snapshots.filter((s) => !isOrphanMarker(s)).map((s) => site.lines[s.id]!), site.head];
  return lines.every((line, index) => isPrefix(lines[index - 1] ?? [], line))
    ? undefined
    : 'the mirror snapshots are not on one line';
}

/** The newest point that a primary or just demoted site offers; undefined when it only has copies of another's. */
function offeredLine(site: ModelSite): { line: readonly string[]; primary: boolean } | undefined {
  const newest = site.snapshots.at(-1);
  if (!newest || isCopy(newest) || isOrphanMarker(newest)) return undefined;
  return { line: site.lines[newest.id]!, primary: stateOf(site) === 'primary' };
}

/**
 * A site that is not primary follows a primary exactly when nothing that happened to it is missing there. If something is:
 * split-brain, until the user asks for a resync. With more than two sites, a link to a third one may have been pruned, so a
 * needless split-brain is allowed (never the opposite).
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
  const lenient = world.sites.length > 2 && said === 'split-brain' && follows;
  return lenient ? undefined : `it decided ${said} where ${right} is right`;
}

/** Without a primary there is nothing to follow but a demoted site's last words, and only by who lacks nothing of them. */
function brokenWithoutPrimary(
  here: ModelSite,
  offered: ReturnType<typeof offeredLine>,
  said: string,
): string | undefined {
  if (said !== 'sync') return undefined;
  if (offered && (isPrefix(here.head, offered.line) || here.running?.resync)) return undefined;
  return 'it follows a site that is not primary';
}
