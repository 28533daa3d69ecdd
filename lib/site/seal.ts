// Owns the encryption of what a site must keep secret from whoever can read its bucket: the keys that it shows to peers.
// AES-256-GCM with a key derived (HKDF-SHA-256) from the site's secret, which is never in the bucket.
//
// Sealed text: `v1.<base64url of 12 random bytes>.<base64url of ciphertext and tag>`.

import { FarsideError } from '../errors.ts';
import type { Random } from '../random.ts';

const secretBytesMin = 32;
const ivBytes = 12;
const purpose = new TextEncoder().encode('farside seal v1');

export class Seal {
  readonly #secret: string;
  readonly #random: Random;
  #key: CryptoKey | undefined;

  /** `secret`: base64 of at least 32 bytes. EINVAL when it is not; the message does not repeat it. */
  constructor(secret: string, random: Random) {
    if (Buffer.from(secret, 'base64').length < secretBytesMin) {
      throw new FarsideError('EINVAL', `the site's secret must be base64 of at least ${secretBytesMin} random bytes`);
    }
    this.#secret = secret;
    this.#random = random;
  }

  async seal(text: string): Promise<string> {
    const iv = new Uint8Array(this.#random.bytes(ivBytes));
    const sealed = await crypto.subtle.encrypt(
      { name: 'AES-GCM', iv },
      await this.#derivedKey(),
      new TextEncoder().encode(text),
    );
    return `v1.${Buffer.from(iv).toString('base64url')}.${Buffer.from(sealed).toString('base64url')}`;
  }

  /** EBADMSG when the text was changed, or sealed with another secret. */
  async unseal(sealed: string): Promise<string> {
    const [version, iv, ciphertext, ...rest] = sealed.split('.');
    if (version !== 'v1' || iv === undefined || ciphertext === undefined || rest.length > 0) throw unreadable();
    try {
      const algorithm = { name: 'AES-GCM', iv: new Uint8Array(Buffer.from(iv, 'base64url')) };
      const text = await crypto.subtle.decrypt(
        algorithm,
        await this.#derivedKey(),
        new Uint8Array(Buffer.from(ciphertext, 'base64url')),
      );
      return new TextDecoder().decode(text);
    } catch (cause) {
      throw unreadable(cause);
    }
  }

  async #derivedKey(): Promise<CryptoKey> {
    if (this.#key) return this.#key;
    const secret = await crypto.subtle.importKey(
      'raw',
      new Uint8Array(Buffer.from(this.#secret, 'base64')),
      'HKDF',
      false,
      ['deriveKey'],
    );
    const derivation = { name: 'HKDF', hash: 'SHA-256', salt: new Uint8Array(), info: purpose };
    this.#key = await crypto.subtle.deriveKey(derivation, secret, { name: 'AES-GCM', length: 256 }, false, [
      'encrypt',
      'decrypt',
    ]);
    return this.#key;
  }
}

const unreadable = (cause?: unknown): FarsideError =>
  new FarsideError('EBADMSG', "a sealed secret cannot be read: was the site's secret changed?", { cause });
