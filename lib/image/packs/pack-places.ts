// Owns the order in which the places of a pack are looked at, and what was seen there. A clone's packs lie in its own prefix, its
// parent's, and so on. A reference commits to content, so any copy that has the entry will do; which place had a pack is remembered
// for as long as the process lives, to spare the miss. Everything remembered is a guess: whoever finds it wrong says `forget`.

import { LRUCache } from 'lru-cache';
import type { Bucket } from '../../bucket/bucket.ts';
import type { ImageId } from '../ids.ts';
import { packKeys, type Placed } from './pack-place.ts';

/** Where a copy of a pack may lie. */
export type Place = { source: ImageId; key: string };

/** `sources`: the image itself, then those whose packs it may need. `slotsFirst`: segments are looked for in their slots first. */
export type PackSources = { sources: readonly ImageId[]; slotsFirst: boolean };

/** Packs that were found elsewhere than where they are looked for first. */
const placesMax = 16_384;
const foundOf = new WeakMap<Bucket, LRUCache<string, Place>>();

function foundIn(bucket: Bucket): LRUCache<string, Place> {
  let found = foundOf.get(bucket);
  if (!found) foundOf.set(bucket, (found = new LRUCache({ max: placesMax })));
  return found;
}

export class PackPlaces {
  readonly #found: LRUCache<string, Place>;
  readonly #sources: readonly ImageId[];
  readonly #slotsFirst: boolean;
  /** Copies that were looked for and not there: nothing that may not change. */
  readonly #absent = new Set<string>();
  /** Where a pack was found last: the next one is probably there too. */
  #lastSource: ImageId;

  constructor(bucket: Bucket, { sources, slotsFirst }: PackSources) {
    this.#found = foundIn(bucket);
    this.#sources = sources;
    this.#slotsFirst = slotsFirst;
    this.#lastSource = sources[0]!;
  }

  /** Whether some copy was looked for and not there: it may be there by now. */
  get believesAbsent(): boolean {
    return this.#absent.size > 0;
  }

  isAbsent({ key }: Place): boolean {
    return this.#absent.has(key);
  }

  /** The image's own places of a pack. */
  own(pack: Placed): Place[] {
    return this.#under(this.#sources[0]!, pack);
  }

  /** A place among the image's own, by its key. */
  ownAt(key: string): Place {
    return { source: this.#sources[0]!, key };
  }

  /** Where to look for a pack: where it was found before, then in the order of the sources. */
  order(pack: Placed): readonly Place[] {
    const places = this.#all(pack);
    if (places.length === 1) return places;
    const known = this.#found.get(this.#name(pack));
    if (known) return [known, ...places.filter(({ key }) => key !== known.key)];
    const isLast = ({ source }: Place): boolean => source === this.#lastSource;
    return [...places.filter(isLast), ...places.filter((place) => !isLast(place))];
  }

  noteFound(pack: Placed, place: Place): void {
    const [first] = this.#all(pack);
    if (this.#sources.length > 1) this.#lastSource = place.source;
    if (place.key !== first!.key) this.#found.set(this.#name(pack), place);
  }

  noteAbsent(pack: Placed, { key }: Place): undefined {
    if (this.#all(pack).length === 1) return;
    if (this.#absent.size >= placesMax) this.#absent.clear();
    this.#absent.add(key);
  }

  /** Forgets where the pack was, and what was absent; answers every place it may have. */
  forget(pack: Placed): readonly Place[] {
    this.#absent.clear();
    this.#found.delete(this.#name(pack));
    return this.#all(pack);
  }

  #all(pack: Placed): Place[] {
    return this.#sources.flatMap((source) => this.#under(source, pack));
  }

  #under(source: ImageId, pack: Placed): Place[] {
    return packKeys(source, pack, this.#slotsFirst).map((key) => ({ source, key }));
  }

  #name({ packId }: Placed): string {
    return `${this.#sources[0]}/${packId}`;
  }
}
