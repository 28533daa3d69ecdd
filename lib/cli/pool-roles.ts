// Owns how a verb on all images of a pool goes on call by call, and how failures of single images are told.

import type { ErrorCode } from '../errors.ts';
import { SilentExit, withErrno } from './output/failure.ts';
import type { Output } from './output/output.ts';
import type { PoolRoles } from './client/shapes.ts';
import { unframed } from './output/wording.ts';

/** `fail` ends the command with the code of the first image that failed, if any. */
export type ChangedRoles = { count: number; fail: () => void };

/** `call` is given the last image of the call before. Failures are noted as they are told. */
export async function changePoolRoles(
  output: Output,
  verb: string,
  call: (after: string | undefined) => Promise<PoolRoles>,
): Promise<ChangedRoles> {
  let count = 0;
  let first: ErrorCode | undefined;
  let after: string | undefined;
  do {
    const roles = await unframed(() => call(after));
    count += roles.changed;
    for (const { image, code, message } of roles.failed) {
      first ??= code;
      output.note(`farside: ${withErrno(`failed to ${verb} image ${image}`, code)}\n${message}`);
    }
    after = roles.next;
  } while (after !== undefined);
  return {
    count,
    fail: () => {
      if (first !== undefined) throw new SilentExit(first);
    },
  };
}
