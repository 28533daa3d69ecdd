// Owns the CLI's view of the schedules of a site's API, a part of `Client`: those of mirror snapshots, or of purges of the trash.

import type { z } from 'zod';

import type { Level } from '../parse/grammar.ts';
import type { Query, SiteHttp } from './http.ts';
import * as shapes from './shapes.ts';

export class ScheduleClient {
  readonly #http: SiteHttp;
  readonly #path: 'schedules' | 'purge-schedules';

  constructor(http: SiteHttp, path: 'schedules' | 'purge-schedules') {
    this.#http = http;
    this.#path = path;
  }

  async add(level: Level, interval: string, startTime: string | undefined): Promise<void> {
    await this.#http.request('POST', ['v1', this.#path], { query: level, body: { interval, startTime } });
  }

  /** Without an interval, all of the level. */
  async remove(level: Level, interval: string | undefined, startTime: string | undefined): Promise<void> {
    await this.#http.request('DELETE', ['v1', this.#path], { query: { ...level, interval, startTime } });
  }

  list(level: Level): Promise<shapes.ScheduleItems> {
    return this.#get(shapes.scheduleItemsShape, [], level);
  }

  listLevels(level: Level): Promise<shapes.ScheduleLevels> {
    return this.#get(shapes.scheduleLevelsShape, [], { ...level, recursive: true });
  }

  /** What is due next; `shape` is that of its rows. */
  status<T>(level: Level, shape: z.ZodType<T>): Promise<T> {
    return this.#get(shape, ['status'], level);
  }

  async #get<T>(shape: z.ZodType<T>, tail: readonly string[], query: Query): Promise<T> {
    return this.#http.checked(shape, await this.#http.request('GET', ['v1', this.#path, ...tail], { query }));
  }
}
