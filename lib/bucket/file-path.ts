// Owns the mapping between keys and paths below a FileDriver's `objects` directory, with its inverse. No file access here.
//
// Each `/`-separated segment of a key is a directory, the last one a file. Of a name, `[a-z0-9_.%-]` stand for themselves
// and every other byte is `~xx`: also capitals, since some file systems do not tell `A` from `a`. A segment of 80 bytes or
// more is cut into pieces of exactly 80 raw bytes and a shorter rest, so that no name outgrows a file system's 255 bytes.
//
//   name on disk        in a key
//   `piece@`            the end of the key: a file
//   `piece+`            a segment that goes on in this directory
//   `piece`             a whole segment, or its last piece, and a slash: a directory
//
// Here a text is a *byte string*, one character per UTF-8 byte, so that JavaScript's order of strings is the order of keys.
// Because a cut piece always has full length and others never have, no key outside a directory sorts between those in it.

const pieceBytes = 80;
const emptyName = '~';

/** `text` is what the entry adds to the key, as a byte string: for a directory with the slash, unless the segment goes on. */
export type Entry = { name: string; text: string; isFile: boolean };

export const toByteString = (text: string): string => Buffer.from(text).toString('latin1');
export const fromByteString = (bytes: string): string => Buffer.from(bytes, 'latin1').toString();

/** Names of the directories and, last, of the file. */
export function pathOfKey(key: string): string[] {
  const segments = key.split('/').map(namesOf);
  const names = segments.flat();
  names[names.length - 1] += '@';
  return names;
}

/** Names of the directories that hold every key beginning with `prefix`, and the part of the prefix that they stand for. */
export function pathOfPrefix(prefix: string): { names: string[]; text: string } {
  const text = prefix.slice(0, prefix.lastIndexOf('/') + 1);
  return { names: text.split('/').slice(0, -1).flatMap(namesOf), text: toByteString(text) };
}

/** Undefined for a name that this mapping does not make. */
export function parseEntry(name: string): Entry | undefined {
  const mark = name.at(-1);
  const isMarked = mark === '@' || mark === '+';
  const piece = decode(isMarked ? name.slice(0, -1) : name);
  if (piece === undefined) return undefined;
  return { name, text: isMarked ? piece : `${piece}/`, isFile: mark === '@' };
}

/** The names of one segment's pieces; all but the last are marked as going on. */
function namesOf(segment: string): string[] {
  const bytes = toByteString(segment);
  const names: string[] = [];
  let index = 0;
  for (; bytes.length - index >= pieceBytes; index += pieceBytes)
    names.push(`${encode(bytes.slice(index, index + pieceBytes))}+`);
  names.push(encode(bytes.slice(index)));
  return names;
}

/** A piece that stands for itself: not empty, and not hidden by a dot in front. */
const plainPattern = /^[a-z0-9_%-][a-z0-9_.%-]*$/;
const encodedPattern = /^(?:[a-z0-9_.%-]|~[0-9a-f]{2})+$/;

function encode(piece: string): string {
  if (plainPattern.test(piece)) return piece;
  if (piece === '') return emptyName;
  return piece.replace(/^\.|[^a-z0-9_.%-]/g, (byte) => `~${byte.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

function decode(name: string): string | undefined {
  if (plainPattern.test(name)) return name;
  if (name === emptyName) return '';
  if (!encodedPattern.test(name)) return undefined;
  return name.replace(/~(..)/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)));
}
