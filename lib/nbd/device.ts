// Owns what the NBD server asks of whoever serves images: a device, and where devices come from. Nothing here knows of images,
// and nothing of images need know of NBD.

/**
 * What an export serves. Offsets and lengths are bytes and lie within `sizeBytes`; lengths are not 0. Blocks of 512 bytes are
 * advertised, but clients that ignore it are served too, so any alignment may come. Calls overlap; writes, zeros and discards are
 * called in the order in which the client sent them, and must take effect in the order of the calls.
 *
 * Failures are FarsideErrors; what clients are told of each code is in error-value.ts.
 */
export interface Device {
  /** The current size; it may change while clients are connected, who learn of it when they connect again. */
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  /** A flush covers what was accepted on all connections, so a client may use several. */
  readonly canMultiConn: boolean;
  /** A power of two from 512 to 32 MiB. */
  readonly preferredBlockBytes: number;
  /** Fills all of `target`, whatever is in it; it is the server's again when this settles. */
  read(offset: number, target: Uint8Array): Promise<void>;
  /** Resolves when accepted: later reads see it, the next flush makes it durable. `data` is the server's again when this settles. */
  write(offset: number, data: Uint8Array): Promise<void>;
  /** Accepted as a write of zeros is. Without `punchHole` the range should stay allocated. `fastOnly`: EOPNOTSUPP at once, nothing done, unless it beats writing zeros. */
  zero(offset: number, length: number, options: ZeroOptions): Promise<void>;
  /** The content is no longer needed; what is read there afterwards is the device's choice. */
  discard(offset: number, length: number): Promise<void>;
  /** Everything accepted before the call is durable. */
  flush(): Promise<void>;
  /** Covers a prefix of the range, at least one item. A hole is not allocated and reads as zeros. */
  extents(offset: number, length: number): Promise<Extent[]>;
  /** Called once, after the last other call has settled and after a flush. */
  close(): Promise<void>;
}

export type ZeroOptions = { punchHole: boolean; fastOnly: boolean };

export type Extent = { length: number; hole: boolean };

export type ExportEntry = { name: string; description?: string };

/** Where devices come from. */
export interface ExportSource {
  list(): Promise<ExportEntry[]>;
  /** What `name` stands for: one entry for all names of the same content, so that it is opened once. '' is the default export. */
  resolve(name: string): Promise<ExportEntry | undefined>;
  /** `name` is as `resolve` answered. undefined: it has gone. */
  open(name: string): Promise<Device | undefined>;
}
