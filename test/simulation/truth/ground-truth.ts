// Owns what is true in a simulation, of all sites: the points that were taken, and what a command may have done when it answers.
// It sees each change of a bucket as it takes effect (site-truth.ts), which is explained by the command or the handler that made
// it; a `Violation` is thrown when nothing explains it.

import { wantsQuiesce } from '../../../lib/image/journal/quiesce.ts';
import { JournalTruth } from './journal-truth.ts';
import type { ImageView } from '../image-view.ts';
import type { Operation } from '../operation.ts';
import { Violation } from '../violation.ts';
import type { ImageTruth, Point } from './image-truth.ts';
import { copyOf, type Copied } from './births.ts';
import type { World } from './moment.ts';
import type { SiteTruth } from './site-truth.ts';

const pointKey = (mirrorUuid: string, globalId: string, snapId: number): string =>
  `${mirrorUuid}/${globalId}/${snapId}`;

export class GroundTruth implements World {
  readonly sites: SiteTruth[] = [];
  readonly journals = new JournalTruth();
  readonly #points = new Map<string, Point>();
  readonly #fail: (error: unknown) => void;

  /** `fail` ends the run. */
  constructor(fail: (error: unknown) => void) {
    this.#fail = fail;
  }

  guard(check: () => void): void {
    try {
      check();
    } catch (error) {
      this.#fail(error);
    }
  }

  site(name: string): SiteTruth | undefined {
    return this.sites.find((site) => site.name === name);
  }

  hasTombstone(siteName: string, globalId: string): boolean {
    return this.site(siteName)?.hasTombstone(globalId) === true;
  }

  census(): { site: string; images: ImageTruth[] }[] {
    return this.sites.map(({ name, images }) => ({ site: name, images: [...images.values()] }));
  }

  get pointCount(): number {
    return this.#points.size;
  }

  register(point: Point): void {
    this.#points.set(pointKey(point.mirrorUuid, point.globalId, point.snapId), point);
  }

  point(mirrorUuid: string, globalId: string, snapId: number): Point | undefined {
    return this.#points.get(pointKey(mirrorUuid, globalId, snapId));
  }

  /** A command begins. */
  began(operation: Operation): void {
    if (!operation.isQuiescing) return;
    for (const { names, header } of this.site(operation.siteName)?.images.values() ?? []) {
      if (names.has(operation.imageName) && header.journal && wantsQuiesce(header))
        operation.quiescing.add(header.journal.folded.epoch);
    }
  }

  /** A command has answered. */
  succeeded(operation: Operation): void {
    if (operation.touchedCount === 0 && operation.created)
      operation.imageId = this.#twin(operation.siteName, operation.created);
    else if (operation.touchedCount === 0 && operation.copied)
      operation.imageId = this.#copyMadeBefore(operation, operation.copied);
    else if (operation.mustLand && operation.touchedCount === 0)
      throw new Violation('I5', `'${operation.title}' said that it succeeded, but nothing was stored`);
    const truth =
      operation.imageId === undefined ? undefined : this.site(operation.siteName)?.images.get(operation.imageId);
    if (truth) truth.isAcknowledged = true;
  }

  #copyMadeBefore({ siteName, imageName, title }: Operation, copied: Copied): string {
    const site = this.site(siteName);
    const found = site && copyOf(site.place, copied, imageName);
    if (found) return found.imageId;
    throw new Violation('I5', `'${title}' said that it succeeded, but there is no such image`);
  }

  /** The image that an earlier run of the same command made. */
  #twin(siteName: string, created: ImageView): string {
    const images = [...(this.site(siteName)?.images.values() ?? [])];
    const twin = images.find(({ names, made }) => names.has(created.name) && made.content.id === created.content.id);
    if (!twin)
      throw new Violation(
        'I5',
        `the making of '${created.name}' at ${siteName} said that it succeeded, but there is no such image`,
      );
    return twin.imageId;
  }

  refused(operation: Operation, why: string): void {
    if (operation.landedCount === 0 || operation.mayRefuseLate) return;
    throw new Violation('model', `'${operation.title}' was refused (${why}) but had an effect`);
  }
}
