// Owns a driver that is made when it is first asked, so that a program which may not need it does not load it: the S3 driver's
// SDK takes longer to load than most commands take to run.

import type {
  Driver,
  GetOptions,
  GetOutcome,
  ListOptions,
  ListPage,
  ObjectMeta,
  PutCondition,
  PutOutcome,
} from './driver.ts';

export class OnDemandDriver implements Driver {
  readonly kind: string;
  readonly #make: () => Promise<Driver>;
  #made: Promise<Driver> | undefined;

  constructor(kind: string, make: () => Promise<Driver>) {
    this.kind = kind;
    this.#make = make;
  }

  async get(key: string, options?: GetOptions): Promise<GetOutcome> {
    return (await this.#driver()).get(key, options);
  }

  async head(key: string): Promise<ObjectMeta | undefined> {
    return (await this.#driver()).head(key);
  }

  async put(key: string, body: Uint8Array, condition: PutCondition): Promise<PutOutcome> {
    return (await this.#driver()).put(key, body, condition);
  }

  async delete(keys: readonly string[]): Promise<void> {
    return (await this.#driver()).delete(keys);
  }

  async list(options: ListOptions): Promise<ListPage> {
    return (await this.#driver()).list(options);
  }

  #driver(): Promise<Driver> {
    return (this.#made ??= this.#make());
  }
}
