// Owns what a session needs of a connection, so that it knows of no socket.

import type { Inbox } from './inbox.ts';

export interface Channel {
  readonly inbox: Inbox;
  readonly isTls: boolean;
  /** Sends in order, without copying. `sent` is called once: the bytes left this process, or never will. */
  send(parts: readonly Uint8Array[], sent?: () => void): void;
  /** Sends `accepted`, then becomes of no use: answers the same connection, encrypted, once the client has shaken hands. undefined: it did not come to that. */
  startTls(accepted: Uint8Array): Promise<Channel | undefined>;
  /** After what was sent has left. */
  end(): void;
  /** At once. */
  destroy(): void;
}
