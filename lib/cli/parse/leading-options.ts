// Owns the options that stand before a command's words, as rbd allows: `--dest vm-2 import disk.img`. They go behind the words,
// where the command that they belong to is known. Pure: words in, words out.

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
