// A Device in memory, sparse in pages, which notes what it was asked and fails when told to. Also an ExportSource of such devices.

import { FarsideError } from '../../lib/errors.ts';
import type { Device, ExportEntry, ExportSource, Extent, ZeroOptions } from '../../lib/nbd/device.ts';

const pageBytes = 64 * 1024;

export type MemoryDeviceOptions = { readOnly?: boolean; canMultiConn?: boolean; canZeroFast?: boolean };

export class MemoryDevice implements Device {
  sizeBytes: number;
  readonly readOnly: boolean;
  readonly canMultiConn: boolean;
  readonly preferredBlockBytes = 4096;
  readonly pages = new Map<number, Buffer>();
  /** Names of the calls that change something, in order, with their offsets. */
  calls: string[] = [];
  isNoting = false;
  closeCount = 0;
  /** Thrown by the next call of that name. */
  readonly failures = new Map<string, Error>();
  /** Awaited by calls of that name before they have an effect. */
  readonly gates = new Map<string, Promise<void>>();
  readonly #canZeroFast: boolean;

  constructor(sizeBytes: number, options: MemoryDeviceOptions = {}) {
    this.sizeBytes = sizeBytes;
    this.readOnly = options.readOnly ?? false;
    this.canMultiConn = options.canMultiConn ?? true;
    this.#canZeroFast = options.canZeroFast ?? true;
  }

  async read(offset: number, target: Uint8Array): Promise<void> {
    await this.#enter('read', offset);
    target.set(this.peek(offset, target.length));
  }

  peek(offset: number, length: number): Buffer {
    const data = Buffer.allocUnsafeSlow(length);
    for (const part of parts(offset, length)) {
      const page = this.pages.get(part.page);
      if (page) page.copy(data, part.at, part.from, part.from + part.length);
      else data.fill(0, part.at, part.at + part.length);
    }
    return data;
  }

  async write(offset: number, data: Uint8Array): Promise<void> {
    await this.#enter('write', offset);
    this.poke(offset, data);
  }

  poke(offset: number, data: Uint8Array): void {
    for (const part of parts(offset, data.length)) {
      let page = this.pages.get(part.page);
      if (!page) {
        page = part.length === pageBytes ? Buffer.allocUnsafeSlow(pageBytes) : Buffer.alloc(pageBytes);
        this.pages.set(part.page, page);
      }
      page.set(data.subarray(part.at, part.at + part.length), part.from);
    }
  }

  async zero(offset: number, length: number, options: ZeroOptions): Promise<void> {
    if (options.fastOnly && !this.#canZeroFast) throw new FarsideError('EOPNOTSUPP', 'zeros are not fast here');
    await this.#enter(options.punchHole ? 'zero' : 'zero-allocated', offset);
    this.#clear(offset, length, options.punchHole);
  }

  async discard(offset: number, length: number): Promise<void> {
    await this.#enter('discard', offset);
    this.#clear(offset, length, true);
  }

  async flush(): Promise<void> {
    await this.#enter('flush');
  }

  async extents(offset: number, length: number): Promise<Extent[]> {
    await this.#enter('extents', offset);
    const extents: Extent[] = [];
    for (const part of parts(offset, length)) {
      const hole = !this.pages.has(part.page);
      const last = extents.at(-1);
      if (last?.hole === hole) last.length += part.length;
      else extents.push({ length: part.length, hole });
    }
    return extents;
  }

  async close(): Promise<void> {
    this.closeCount++;
    await this.#enter('close');
  }

  /** Takes effect at once when nothing stands in the way, as the order of changes asks. */
  #enter(name: string, offset?: number): Promise<void> | undefined {
    if (this.isNoting) this.calls.push(offset === undefined ? name : `${name} ${offset}`);
    const failure = this.failures.get(name);
    this.failures.delete(name);
    if (failure !== undefined) throw failure;
    return this.gates.get(name);
  }

  #clear(offset: number, length: number, punchHole: boolean): void {
    for (const part of parts(offset, length)) {
      const page = this.pages.get(part.page);
      if (part.length === pageBytes && punchHole) this.pages.delete(part.page);
      else if (page) page.fill(0, part.from, part.from + part.length);
      else if (!punchHole) this.pages.set(part.page, Buffer.alloc(pageBytes));
    }
  }
}

/** A range cut at pages: which page, from where in it, and at what place of the range. */
function* parts(offset: number, length: number): Generator<{ page: number; from: number; at: number; length: number }> {
  for (let at = 0; at < length;) {
    const page = Math.floor((offset + at) / pageBytes);
    const from = offset + at - page * pageBytes;
    const partBytes = Math.min(pageBytes - from, length - at);
    yield { page, from, at, length: partBytes };
    at += partBytes;
  }
}

export class MemoryExports implements ExportSource {
  readonly devices: Map<string, Device>;
  readonly openCounts = new Map<string, number>();
  /** Thrown by the next `open`. */
  failure: Error | undefined;

  /** The first is the default export. */
  constructor(devices: Record<string, Device>) {
    this.devices = new Map(Object.entries(devices));
  }

  async list(): Promise<ExportEntry[]> {
    return [...this.devices.keys()].map(describe);
  }

  async resolve(name: string): Promise<ExportEntry | undefined> {
    const found = name === '' ? [...this.devices.keys()][0] : name;
    return found !== undefined && this.devices.has(found) ? describe(found) : undefined;
  }

  async open(name: string): Promise<Device | undefined> {
    this.openCounts.set(name, (this.openCounts.get(name) ?? 0) + 1);
    const { failure } = this;
    this.failure = undefined;
    if (failure !== undefined) throw failure;
    return this.devices.get(name);
  }
}

const describe = (name: string): ExportEntry => ({ name, description: `the disk ${name}` });
