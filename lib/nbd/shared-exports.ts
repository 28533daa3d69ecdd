// Owns the devices that are open: one for each export, shared by all connections, opened when a client first asks for it and kept
// until the server stops. Closing it with the last connection would make a writer of an image begin anew whenever a client looks
// at it or reconnects; a device that is open and idle costs little.

import { FarsideError } from '../errors.ts';
import type { Device, ExportEntry, ExportSource } from './device.ts';

export class SharedExports {
  readonly #source: ExportSource;
  readonly #deviceCountMax: number;
  readonly #devices = new Map<string, Promise<Device | undefined>>();
  #isClosed = false;

  constructor(source: ExportSource, deviceCountMax: number) {
    this.#source = source;
    this.#deviceCountMax = deviceCountMax;
  }

  get deviceCount(): number {
    return this.#devices.size;
  }

  list(): Promise<ExportEntry[]> {
    return this.#source.list();
  }

  resolve(name: string): Promise<ExportEntry | undefined> {
    return this.#source.resolve(name);
  }

  /** A failure to open is not kept: the next client tries again. */
  async open(name: string): Promise<Device | undefined> {
    const opening = this.#devices.get(name) ?? this.#openFirst(name);
    try {
      const device = await opening;
      if (device === undefined) this.#forget(name, opening);
      return device;
    } catch (error) {
      this.#forget(name, opening);
      throw error;
    }
  }

  /** Everything accepted is durable, or the first failure is thrown when every device was closed. No connection may be left. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const closed = await Promise.allSettled([...this.#devices.values()].map(closeDevice));
    this.#devices.clear();
    const failure = closed.find((one) => one.status === 'rejected');
    if (failure) throw failure.reason;
  }

  #openFirst(name: string): Promise<Device | undefined> {
    if (this.#isClosed)
      throw new FarsideError('ECANCELED', 'the server is stopping: connect again when it has started');
    if (this.#devices.size >= this.#deviceCountMax)
      throw new FarsideError(
        'EBUSY',
        `${this.#deviceCountMax} exports are open, which is the limit: start another server`,
      );
    const opening = this.#source.open(name);
    this.#devices.set(name, opening);
    return opening;
  }

  #forget(name: string, opening: Promise<Device | undefined>): void {
    if (this.#devices.get(name) === opening) this.#devices.delete(name);
  }
}

/** A device that did not open has nothing to close; whoever asked for it was told. */
async function closeDevice(opening: Promise<Device | undefined>): Promise<void> {
  const device = await opening.catch(() => undefined);
  if (device === undefined) return;
  try {
    if (!device.readOnly) await device.flush();
  } finally {
    await device.close();
  }
}
