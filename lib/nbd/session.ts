// Owns one connection from its beginning to its end: negotiation, transmission, good-bye. It knows of no socket.

import type { Channel } from './channel.ts';
import { negotiate, type Exports, type TlsMode } from './negotiation.ts';
import { Transmission, type Shared } from './transmission.ts';

export type SessionOptions = {
  exports: Exports;
  tls: TlsMode;
  shared: Shared;
  /** The negotiation is over: the client has chosen an export. */
  onAgreed(channel: Channel): void;
};

/** Resolves when nothing of it is in flight. Rejects only for a bug. */
export async function runSession(channel: Channel, options: SessionOptions): Promise<void> {
  const { exports, tls, shared } = options;
  const agreed = await negotiate(channel, { exports, tls, limits: shared.limits, report: shared.report });
  if (agreed === undefined) return channel.end();
  options.onAgreed(agreed.channel);
  await new Transmission(agreed, shared).run();
  agreed.channel.end();
}
