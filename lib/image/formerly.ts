// Owns what a header remembers of mirroring that was given up (`formerly`), at a primary and at the replica that is kept for it:
// under which global id, and which points the other side may have. While it is remembered those points are reachable, so that
// mirroring the image again, in whatever mode, costs what changed since. Bounded by time: collection forgets it. Pure.

import { formerlyMax, formerRootsMax, mirrorSnapshots, type Former, type Header } from './header.ts';

export const formerOf = (header: Pick<Header, 'formerly'>): Former[] => header.formerly ?? [];

/** `after`, which is not mirrored any more, with what `before` was mirrored as. */
export function withFormer(after: Header, before: Header, untilMs: number): Header {
  if (!before.mirror) return after;
  const { globalId } = before.mirror;
  const others = formerOf(after).filter((one) => one.globalId !== globalId);
  return { ...after, formerly: [...others, { globalId, roots: pointsOf(before), untilMs }].slice(-formerlyMax) };
}

/** Newest first. */
function pointsOf(header: Header): Former['roots'] {
  const roots = new Map<string, Former['roots'][number]>();
  for (const { root } of mirrorSnapshots(header).toReversed()) if (root) roots.set(`${root.pack}/${root.entry}`, root);
  return [...roots.values()].slice(0, formerRootsMax);
}

/** Undefined when nothing is to be forgotten. */
export function withoutExpired(header: Header, nowMs: number): Header | undefined {
  const left = formerOf(header).filter(({ untilMs }) => untilMs > nowMs);
  if (left.length === formerOf(header).length) return undefined;
  const { formerly: _, ...rest } = header;
  return left.length > 0 ? { ...rest, formerly: left } : rest;
}
