// Owns the transmission of one connection: requests are taken in order and run at once, replies go out as they are ready. What is in
// flight is bounded: a request is taken only when there is room for it, and its room is free again when its reply has left. So a
// client that does not read its replies is not read either. Payload passes through memory that is used again when the reply has left.

import { Budget } from './budget.ts';
import type { Channel } from './channel.ts';
import type { Device } from './device.ts';
import { refusalOf, type Refusal } from './error-value.ts';
import type { Limits } from './limits.ts';
import type { PayloadMemory } from './memory.ts';
import { perform } from './perform.ts';
import { encodeError, encodeSimple, parseRequest, requestHeaderBytes, type Request } from './request-codec.ts';
import { bytesHeldBy, payloadBytesOf, refuse, type Terms } from './request-rules.ts';
import { command } from './wire.ts';

export type Agreed = Terms & { channel: Channel; device: Device };

/** What all connections share. */
export type Shared = {
  limits: Limits;
  /** Payload in flight, and requests. */
  bytes: Budget;
  memory: PayloadMemory;
  /** A failure that the client is not told in full. */
  report: (error: unknown) => void;
};

export class Transmission {
  readonly #agreed: Agreed;
  readonly #shared: Shared;
  readonly #requests: Budget;
  readonly #bytes: Budget;
  #idle: (() => void) | undefined;

  constructor(agreed: Agreed, shared: Shared) {
    this.#agreed = agreed;
    this.#shared = shared;
    this.#requests = new Budget(shared.limits.requestCountMax);
    this.#bytes = new Budget(shared.limits.connectionBytesMax);
  }

  /** Until the client leaves or breaks the protocol, and every request that was taken is answered. Never rejects for either. */
  async run(): Promise<void> {
    let goesOn = true;
    while (goesOn) goesOn = await this.#takeNext();
    if (this.#requests.used > 0)
      await new Promise<void>((resolve) => {
        this.#idle = resolve;
      });
  }

  /** Whether there may be another request. */
  async #takeNext(): Promise<boolean> {
    const { channel, device } = this.#agreed;
    const header = await channel.inbox.exact(requestHeaderBytes);
    if (header === undefined) return false;
    const request = parseRequest(header);
    if (request === undefined) channel.destroy();
    if (request === undefined || request.type === command.disconnect) return false;
    const refusal = refuse(request, device, this.#agreed, this.#shared.limits);
    return refusal === undefined ? await this.#take(request) : await this.#turnDown(request, refusal);
  }

  async #take(request: Request): Promise<boolean> {
    await this.#acquire(bytesHeldBy(request));
    const payload = this.#shared.memory.take(payloadBytesOf(request));
    const isWhole = request.type !== command.write || (await this.#agreed.channel.inbox.fill(payload));
    if (isWhole) void this.#answer(request, payload);
    else this.#free(request, payload);
    return isWhole;
  }

  /** Never rejects. Calls the device before it returns: the order of changes is the order of these calls. */
  async #answer(request: Request, payload: Buffer): Promise<void> {
    let reply: Uint8Array[];
    try {
      reply = await perform(request, payload, this.#agreed.device, this.#agreed);
    } catch (error) {
      this.#shared.report(error);
      reply = this.#encodeRefusal(request, refusalOf(error));
    }
    this.#agreed.channel.send(reply, () => this.#free(request, payload));
  }

  /** The payload of a refused write is skipped, within reason. */
  async #turnDown(request: Request, refusal: Refusal): Promise<boolean> {
    const { channel } = this.#agreed;
    const skippedBytes = request.type === command.write ? request.length : 0;
    if (skippedBytes > this.#shared.limits.skipBytesMax) {
      channel.destroy();
      return false;
    }
    if (!(await channel.inbox.skip(skippedBytes))) return false;
    await this.#acquire(0);
    channel.send(this.#encodeRefusal(request, refusal), () => this.#release(0));
    return true;
  }

  #encodeRefusal({ cookie }: Request, { name, text }: Refusal): Uint8Array[] {
    return this.#agreed.structured ? encodeError(cookie, name, text) : [encodeSimple(cookie, name)];
  }

  /** Nothing refers to the payload any more. */
  #free(request: Request, payload: Buffer): void {
    this.#shared.memory.give(payload);
    this.#release(bytesHeldBy(request));
  }

  async #acquire(byteCount: number): Promise<void> {
    await this.#requests.acquire(1);
    await this.#bytes.acquire(byteCount);
    await this.#shared.bytes.acquire(byteCount);
  }

  #release(byteCount: number): void {
    this.#shared.bytes.release(byteCount);
    this.#bytes.release(byteCount);
    this.#requests.release(1);
    if (this.#requests.used === 0) this.#idle?.();
  }
}
