// Owns reading JSON that may be malformed: what it means is for a schema to say.

/** UTF-8 where bytes are given. Undefined when it is not JSON. */
export function parseJson(source: string | Uint8Array): unknown {
  try {
    return JSON.parse(typeof source === 'string' ? source : new TextDecoder().decode(source));
  } catch {
    return undefined;
  }
}
