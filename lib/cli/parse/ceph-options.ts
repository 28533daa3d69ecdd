// Owns the options that every Ceph program takes and that say nothing to farside: where a cluster's configuration, monitors and
// keys are, how much to log, any option of its configuration. Scripts give them, so they are taken and left aside.

/** The next word is the option's value, unless it is joined by `=`. */
const valueOptions = new Set(['-c', '--conf', '--id', '--user', '-m', '-k', '--keyring', '-K', '--keyfile']);
const configPattern = /^--(?:admin|auth|client|debug|log|mon|ms|objecter|osd|rados|rbd)[-_][\w-]+$/;

/** What is left of a command line. `known`: long options that some command has. */
export function withoutCephOptions(line: readonly string[], known: ReadonlySet<string>): string[] {
  const words: string[] = [];
  for (let index = 0; index < line.length; index += 1) {
    const word = line[index]!;
    if (word === '--') return [...words, ...line.slice(index)];
    const [name, joined] = word.startsWith('--') ? splitOnce(word, '=') : [word];
    const ours = ourName(name);
    if (ours !== name && known.has(ours)) words.push(joined === undefined ? ours : `${ours}=${joined}`);
    else if (!isCephs(name, joined ?? line[index + 1], known)) words.push(word);
    else if (joined === undefined) index += 1;
  }
  return words;
}

/** Options of the configuration are written with either: `--rbd_default_clone_format`. */
const ourName = (name: string): string => (name.startsWith('--rbd_') ? name.replaceAll('_', '-') : name);

/** `--name` is known to the `site` commands, whose names have no dot. */
function isCephs(name: string, value: string | undefined, known: ReadonlySet<string>): boolean {
  if (name === '-n' || name === '--name') return value?.startsWith('client.') === true;
  return valueOptions.has(name) || (configPattern.test(name) && !known.has(name));
}

function splitOnce(text: string, separator: string): [string, string?] {
  const at = text.indexOf(separator);
  return at === -1 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}
