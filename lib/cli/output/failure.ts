// Owns how a failure reaches the user: the text on stderr and the exit code. Secrets never get here: messages hold none,
// and of an unexpected error only its message is shown.

import { CommanderError } from 'commander';
import { errnoOf, errnoText, FarsideError, type ErrorCode } from '../../errors.ts';

/** What rbd exits with when the command line itself cannot be parsed. */
export const usageExitCode = 1;

/** Ends a command with this exit code after it has said everything itself (as `schedule ls` on an empty level: 2, silent). */
export class SilentExit extends Error {
  readonly code: ErrorCode;
  constructor(code: ErrorCode) {
    super(code);
    this.code = code;
  }
}

/** A failure whose text is whole: some of rbd's lines do not begin with its name. */
export class WordedFailure extends FarsideError {}

export type Failure = { text: string; exitCode: number };

export function describeFailure(error: unknown): Failure {
  if (error instanceof SilentExit) return { text: '', exitCode: errnoOf[error.code] };
  if (error instanceof CommanderError) return describeUsage(error);
  if (error instanceof WordedFailure) return { text: `${error.message}\n`, exitCode: error.errno };
  if (error instanceof FarsideError) return { text: prefixed(error.message), exitCode: error.errno };
  const known = systemErrorCode(error);
  const message = error instanceof Error ? error.message : String(error);
  return { text: prefixed(message), exitCode: known === undefined ? usageExitCode : errnoOf[known] };
}

export const isUnknownCommand = (error: unknown): boolean =>
  error instanceof CommanderError && error.code === 'commander.unknownCommand';

/** rbd's `X: (2) No such file or directory`. */
export const withErrno = (text: string, code: ErrorCode): string => `${text}: (${errnoOf[code]}) ${errnoText[code]}`;

export const prefixed = (message: string): string => `farside: ${message}\n`;

function describeUsage(error: CommanderError): Failure {
  if (error.exitCode === 0) return { text: '', exitCode: 0 };
  const [message = '', ...suggestion] = error.message.split('\n');
  const name = /'([^']*)'/.exec(message)?.[1] ?? '';
  const long = /--[a-z-]+/.exec(name)?.[0] ?? name;
  const said: Record<string, string> = {
    'commander.unknownOption': `unrecognised option '${name}'`,
    'commander.optionMissingArgument': `the required argument for option '${long}' is missing`,
    'commander.unknownCommand': `unknown command '${name}'`,
    'commander.excessArguments': 'too many arguments',
  };
  if (error.code === 'commander.help') return { text: '', exitCode: usageExitCode };
  const text = [said[error.code] ?? message.replace(/^error: /, ''), ...suggestion].join('\n');
  return { text: prefixed(text), exitCode: usageExitCode };
}

/** Of an error that Node passes on from the operating system. */
export function systemErrorCode(error: unknown): ErrorCode | undefined {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  return code in errnoOf ? (code as ErrorCode) : undefined;
}
