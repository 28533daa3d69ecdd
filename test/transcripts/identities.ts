// Owns what may differ between any two runs, because it is drawn, measured or named after a machine: ids, times, hosts, rates. Ids
// of uuid form are not just ignored: what is one id in the recording has to be one id here, and stays so for all of a session.

/** A uuid, or the SHA-256 of random content. */
const uuidPattern = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\b[0-9a-f]{64}\b/g;

/** Recorded ids and ours, one to one. */
export class Identities {
  readonly #ours = new Map<string, string>();
  readonly #theirs = new Map<string, string>();

  /** A recorded command line with our ids in it. */
  localize(line: string): string {
    return line.replaceAll(uuidPattern, (uuid) => this.#ours.get(uuid) ?? uuid);
  }

  /** Our text with recorded ids, where it goes with the recorded text; ids seen here first become a pair. */
  translate(ours: string, theirs: string): string {
    const wanted = theirs.match(uuidPattern) ?? [];
    let index = 0;
    return ours.replaceAll(uuidPattern, (uuid) => this.#pair(uuid, wanted[index++]));
  }

  #pair(ours: string, theirs: string | undefined): string {
    if (theirs !== undefined && !this.#theirs.has(ours) && !this.#ours.has(theirs)) {
      this.#theirs.set(ours, theirs);
      this.#ours.set(theirs, ours);
    }
    return this.#theirs.get(ours) ?? ours;
  }
}

/** The text with its uuids alike: to tell which lines go together. */
export const withoutIds = (text: string): string => text.replaceAll(uuidPattern, '<uuid>');

const sortedItems = (items: string): string => items.trimEnd().split(', ').toSorted().join(', ');

type Blank = readonly [pattern: RegExp, replacement: string | ((match: string) => string)];

/** Within lines, by the words around them. */
const blanks: readonly Blank[] = [
  [/\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}\b/g, '<ctime>'],
  [/\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\b/g, '<time>'],
  [/^(service|  instance_id:) [\w-]+/, '$1 <id>'],
  [/^(  hostname:) \S+/, '$1 <host>'],
  [/^(  version:) \S+/, '$1 <version>'],
  [/^(ceph|farside) version .*/, '<program> version'],
  [/^(  service: +\S+ on) \S+/, '$1 <host>'],
  [/^(\t(?:id|journal):) \S+/, '$1 <image id>'],
  [/^(\tblock_name_prefix: rbd_data\.)\S+/, '$1<image id>'],
  [/^(Snapshot ID:) \d+/, '$1 <snapshot id>'],
  [/^ *\d+( +\S+ +\d+ MiB )/, '<snapshot id>$1'],
  [/^(    )\d+( \.mirror\.)/, '$1<snapshot id>$2'],
  [/:\d+ copied\)/g, ':<snapshot id> copied)'],
  [/\d+(?:\.\d+)? [KMG]iB\/s/g, '<rate>'],
  [/\bclient\.\d+/g, 'client.<id>'],
  [/\b(auto |cookie=)\d+/g, '$1<id>'],
  [/\b[\d.]+:0\/\d+/g, '<address>'],
  [/^(elapsed:) .*/, '$1 <figures>'],
  [/^(Mon Host:) .+/, '$1 <host>'],
  // rbd keeps the items of a schedule in a set, so their order is any.
  [/(?<=^|  )every .*/, sortedItems],
  [/"(key|mon_host)":"[^"]*"/g, '"$1":"<any>"'],
  // Columns are as wide as the ids and numbers in them.
  [/ {2,}/g, '  '],
];

/** A line with all that may differ made alike. */
export function blanked(line: string): string {
  const described = line.replace(/replaying, (\{.*\})/, (_, json: string) => `replaying, ${describeNumbers(json)}`);
  return blanks.reduce((text, [pattern, replacement]) => text.replace(pattern, replacement as string), described);
}

/** The JSON in a description, as its keys and types; how Ceph writes a double (`1.0`) is part of the type. */
function describeNumbers(json: string): string {
  return json.replaceAll(/:(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)(?=[,}])/g, (_, number: string) =>
    number.includes('.') ? ':<double>' : ':<integer>',
  );
}

/** Fields of JSON whose value may be any of its type. */
const anyOfItsType = new Set([
  'id',
  'service_id',
  'instance_id',
  'hostname',
  'ceph_version',
  'primary_snap_id',
  'journal',
  'mon_host',
  'key',
]);

export function blankedField(key: string, value: string | number | boolean): string {
  if (anyOfItsType.has(key)) return `<${typeof value}>`;
  if (key === 'block_name_prefix') return String(value).replace(/^rbd_data\..+/, 'rbd_data.<image id>');
  return typeof value === 'string' ? JSON.stringify(blanked(value)) : String(value);
}
