// Owns the part of the CLI's view of a site's API (client.ts) that is about journals: what a writer tells the site, and how changes
// that are made on the bucket directly become points (lib/mirror/primary/points.ts).

import { z } from 'zod';

import type { Clock } from '../../clock.ts';
import type { ImageDeps, ImageSpec, JournalPoints } from '../../image/deps.ts';
import type { Header } from '../../image/header.ts';
import type { PointTerms } from '../../mirror/primary/points.ts';
import type { Random } from '../../random.ts';
import { requestImage } from './replicas.ts';
import type { SiteHttp } from './http.ts';
import * as shapes from './shapes.ts';

/** `record`: also for replicas that get no wake-up: the first after a pause, one each half minute, the last. */
export type Advance = { epoch: string; seq: number; entry: number; record: boolean };

/** A journal that goes on for so many requests is one that repeats itself. */
const pagesMax = 100_000;

const termsShape = z.looseObject({ peerUuids: z.array(z.string()), snapshotsMax: z.number() });

export class JournalClient {
  readonly #http: SiteHttp;

  constructor(http: SiteHttp) {
    this.#http = http;
  }

  /** To be called at most once a second. */
  async advance(spec: ImageSpec, advance: Advance): Promise<void> {
    await requestImage(this.#http, 'POST', spec, ['journal', 'advance'], { body: advance });
  }

  async info(spec: ImageSpec): Promise<shapes.JournalInfo> {
    return this.#http.checked(shapes.journalInfoShape, await requestImage(this.#http, 'GET', spec, ['journal']));
  }

  async status(spec: ImageSpec): Promise<shapes.JournalStatus> {
    const answer = await requestImage(this.#http, 'GET', spec, ['journal', 'status']);
    return this.#http.checked(shapes.journalStatusShape, answer);
  }

  /** All of it, in bounded steps. */
  async inspect(spec: ImageSpec): Promise<shapes.JournalInspection> {
    const whole: shapes.JournalInspection = { entries: 0, errors: [] };
    let from: number | undefined;
    for (let pages = 0; pages < pagesMax; pages++) {
      const answer = await requestImage(this.#http, 'GET', spec, ['journal', 'inspection'], { query: { from } });
      const page = this.#http.checked(shapes.journalInspectionShape, answer);
      whole.entries += page.entries;
      whole.errors.push(...page.errors);
      if (page.next === undefined) break;
      from = page.next;
    }
    return whole;
  }

  async reset(spec: ImageSpec): Promise<void> {
    await requestImage(this.#http, 'POST', spec, ['journal', 'reset']);
  }

  /** Gives the ids that are disconnected. */
  async disconnect(spec: ImageSpec, clientId: string | undefined): Promise<string[]> {
    const answer = await requestImage(this.#http, 'POST', spec, ['journal', 'disconnect'], { body: { clientId } });
    return this.#http.checked(z.looseObject({ clients: z.array(z.string()) }), answer).clients;
  }

  /** What a replica copied goes into its map. */
  async fold(spec: ImageSpec): Promise<void> {
    await requestImage(this.#http, 'POST', spec, ['journal', 'fold']);
  }

  async terms(spec: ImageSpec): Promise<PointTerms> {
    return this.#http.checked(termsShape, await requestImage(this.#http, 'GET', spec, ['journal', 'terms']));
  }
}

const specOf = ({ pool, namespace, name }: Header): ImageSpec => ({ pool, namespace, image: name });

/** For who changes headers in the bucket and has the site announce what replicas have to see. */
export const clientPoints = (journal: JournalClient, parts: { clock: Clock; random: Random }): JournalPoints => ({
  // Loaded when it is needed: it brings all of mirroring along.
  withPoint: async (before, after) => {
    const { pointTaker } = await import('../../mirror/primary/points.ts');
    return pointTaker(parts, (header) => journal.terms(specOf(header)))(before, after);
  },
  foldReplica: (header) => journal.fold(specOf(header)),
  announce: async (header) => {
    const { epoch, seq, entry } = header.journal?.folded ?? { epoch: '0'.repeat(16), seq: 0, entry: 0 };
    // The replicas find the point when they look next.
    await journal.advance(specOf(header), { epoch, seq, entry, record: true }).catch(() => undefined);
  },
});

/** Of an image that was made in the bucket. A site that is away finds it in its daily round. */
export const tellOfBirth =
  (http: SiteHttp): NonNullable<ImageDeps['born']> =>
  async (header) => {
    if (!header.features.includes('journaling')) return;
    await requestImage(http, 'POST', specOf(header), ['mirror', 'by-feature']).catch(() => undefined);
  };
