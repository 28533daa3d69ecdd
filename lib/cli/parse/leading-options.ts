// Owns the options that stand before a command's words, as rbd allows: `--dest vm-2 import disk.img`. They go behind the words,
// where the command that they belong to is known; and of switches with a value, `--all=1`. Pure: words in, words out.

import { FarsideError } from '../../errors.ts';

/** The names of options, `-s` and `--size` apart, with the next word as their value or without. */
export type OptionNames = { values: ReadonlySet<string>; switches: ReadonlySet<string> };

/** `flags` are commander's: `-s, --size <size>`. */
export function optionNames(flags: readonly string[]): OptionNames {
  const namesOf = (some: readonly string[]): Set<string> =>
    new Set(some.flatMap((one) => one.match(/(?:^|(?<=\s))--?[a-z][a-z0-9-]*/g) ?? []));
  return {
    values: namesOf(flags.filter((one) => one.includes('<'))),
    switches: namesOf(flags.filter((one) => !one.includes('<'))),
  };
}

/** The line with the options that come first at its end, or before `--`. One with an unknown option there stays as it is. */
export function withOptionsLast(line: readonly string[], names: OptionNames): string[] {
  let count = 0;
  while (line[count]?.startsWith('-') === true) {
    const word = line[count]!;
    const isJoined = word.includes('=');
    const name = isJoined ? word.slice(0, word.indexOf('=')) : word;
    if (!names.values.has(name) && !names.switches.has(name)) return [...line];
    count += names.values.has(name) && !isJoined ? 2 : 1;
  }
  const rest = line.slice(count);
  if (rest.length === 0) return [...line];
  const end = rest.indexOf('--');
  const at = end === -1 ? rest.length : end;
  return [...rest.slice(0, at), ...line.slice(0, count), ...rest.slice(at)];
}

/** EPERM, whose number is what rbd exits with here. What follows an option that takes a value is that value. */
export function refuseValuesOfSwitches(line: readonly string[], names: OptionNames): void {
  for (let index = 0; index < line.length && line[index] !== '--'; index += 1) {
    const word = line[index]!;
    const [name = '', value] = word.split('=', 2);
    if (value !== undefined && names.switches.has(name) && !names.values.has(name))
      throw new FarsideError('EPERM', `option '${name}' does not take any arguments`);
    if (names.values.has(word)) index += 1;
  }
}
