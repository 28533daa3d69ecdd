// Compares what one command said with what was recorded. Pure but for the ids that it learns. Every deviation is a value, so that
// differences.ts can say which are meant.

import { blanked, blankedField, withoutIds, type Identities } from './identities.ts';
import type { Step } from './recording.ts';
import type { Said } from '../cli/shell.ts';

export type Difference = {
  step: Step;
  /** `line` and `reason`: of text; a path such as `$.peers[0].mirror_uuid`: of JSON. */
  where: string;
  /** Undefined: not recorded. */
  expected?: string | undefined;
  /** Undefined: not said. */
  actual?: string | undefined;
};

export function describeDifference({ step, where, expected, actual }: Difference): string {
  const show = (text: string | undefined): string => (text === undefined ? '(nothing)' : JSON.stringify(text));
  return `${step.recording} ${step.n}: ${step.line}\n    ${where}: recorded ${show(expected)}\n    ${where}: farside  ${show(actual)}`;
}

export function compareStep(step: Step, said: Said, identities: Identities): Difference[] {
  return [
    ...(step.exitCode === said.exitCode
      ? []
      : [{ where: 'exit code', expected: String(step.exitCode), actual: String(said.exitCode) }]),
    ...compareStdout(step, said.stdout, identities),
    ...compareStderr(step.stderr, said.stderr, identities),
  ].map((difference) => ({ step, ...difference }));
}

type Bare = Omit<Difference, 'step'>;

function compareStdout(step: Step, actual: string, identities: Identities): Bare[] {
  const expectedJson = parseJson(step.stdout);
  const actualJson = parseJson(actual);
  if (!/--format json/.test(step.line) || expectedJson === undefined || actualJson === undefined)
    return compareLines('line', asFarside(step.stdout), withTokensDecoded(actual), identities);
  return [...compareLayout(step, actual, actualJson), ...compareJson('$', expectedJson, actualJson, identities)];
}

/** Ceph's JSON is on one line, or indented by four spaces. */
function compareLayout(step: Step, actual: string, value: unknown): Bare[] {
  const expected = `${JSON.stringify(value, undefined, step.line.includes('--pretty-format') ? 4 : 0)}\n`;
  return expected === actual ? [] : [{ where: 'layout of JSON', expected, actual }];
}

function compareJson(path: string, expected: unknown, actual: unknown, identities: Identities): Bare[] {
  if (Array.isArray(expected) && Array.isArray(actual)) {
    const [wanted, got] = [inAnyOrder(expected), inAnyOrder(actual)];
    const length = Math.max(wanted.length, got.length);
    return Array.from({ length }, (_, index) =>
      compareField(`${path}[${index}]`, wanted[index], got[index], identities),
    ).flat();
  }
  if (!isObject(expected) || !isObject(actual)) return compareScalar(path, expected, actual, identities);
  const keys = [...new Set([...Object.keys(expected), ...Object.keys(actual)])];
  const common = (of: object): string =>
    Object.keys(of)
      .filter((key) => key in expected && key in actual)
      .join(', ');
  const order =
    common(expected) === common(actual)
      ? []
      : [{ where: `order of ${path}`, expected: common(expected), actual: common(actual) }];
  return [...order, ...keys.flatMap((key) => compareField(`${path}.${key}`, expected[key], actual[key], identities))];
}

/** The items of a schedule are a set. */
const inAnyOrder = (values: unknown[]): unknown[] =>
  isObject(values[0]) && 'interval' in values[0]
    ? values.toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1))
    : values;

function compareField(path: string, expected: unknown, actual: unknown, identities: Identities): Bare[] {
  if (expected === undefined) return [{ where: path, actual: JSON.stringify(actual) }];
  if (actual === undefined) return [{ where: path, expected: JSON.stringify(expected) }];
  return compareJson(path, expected, actual, identities);
}

function compareScalar(path: string, expected: unknown, actual: unknown, identities: Identities): Bare[] {
  const key = /([^.[\]]+)(?:\[\d+\])?$/.exec(path)?.[1] ?? '';
  const [wanted, got] = [expected, actual].map((value) =>
    isScalar(value) ? blankedField(key, value) : JSON.stringify(value),
  ) as [string, string];
  const translated = withoutIds(wanted) === withoutIds(got) ? identities.translate(got, wanted) : got;
  return translated === wanted ? [] : [{ where: path, expected: wanted, actual: translated }];
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isScalar = (value: unknown): value is string | number | boolean =>
  ['string', 'number', 'boolean'].includes(typeof value);

/** Lines that go together by everything but their ids are compared with them; the others are missing or too many. */
function compareLines(where: string, expected: string, actual: string, identities: Identities): Bare[] {
  const [wanted, got] = [linesOf(expected), linesOf(actual)];
  const alike = (a: string, b: string): boolean => withoutIds(a) === withoutIds(b);
  const differences: Bare[] = [];
  for (const [i, j] of alignment(wanted, got, alike)) {
    const [theirs, ours] = [wanted[i ?? -1], got[j ?? -1]];
    const translated = ours !== undefined && theirs !== undefined ? identities.translate(ours, theirs) : ours;
    if (theirs !== translated) differences.push({ where, expected: theirs, actual: translated });
  }
  return differences;
}

/** Two texts, line by line. */
export const compareText = (expected: string, actual: string, identities: Identities): Omit<Difference, 'step'>[] =>
  compareLines('line', expected, actual, identities);

/** A last line without its end is another line. */
const linesOf = (text: string): string[] =>
  text === ''
    ? []
    : text.split(/(?<=\n)/).map((line) => blanked(line.endsWith('\n') ? line.slice(0, -1) : `${line}<no newline>`));

/** Pairs of indexes by the longest common subsequence; undefined where a line stands alone. */
function alignment<T>(
  a: readonly T[],
  b: readonly T[],
  alike: (a: T, b: T) => boolean,
): [number | undefined, number | undefined][] {
  const lengths = Array.from({ length: a.length + 1 }, () => new Array<number>(b.length + 1).fill(0));
  for (let i = a.length - 1; i >= 0; i -= 1)
    for (let j = b.length - 1; j >= 0; j -= 1)
      lengths[i]![j] = alike(a[i]!, b[j]!)
        ? lengths[i + 1]![j + 1]! + 1
        : Math.max(lengths[i + 1]![j]!, lengths[i]![j + 1]!);
  const pairs: [number | undefined, number | undefined][] = [];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && alike(a[i]!, b[j]!)) pairs.push([i++, j++]);
    else if (j >= b.length || (i < a.length && lengths[i + 1]![j]! >= lengths[i]![j + 1]!))
      pairs.push([i++, undefined]);
    else pairs.push([undefined, j++]);
  }
  return pairs;
}

/** What rbd says itself is compared line by line. Of what its library logs, the reason has to be said, on a line of its own. */
function compareStderr(expected: string, actual: string, identities: Identities): Bare[] {
  const { said, reasons } = splitLog(expected);
  const tells = (text: string): boolean => reasons.some((reason) => text.includes(reason));
  const lines = compareLines('stderr', asFarside(said), actual, identities);
  return [
    ...lines.filter((line) => line.expected !== undefined || !tells(line.actual ?? '')),
    ...(reasons.length === 0 || tells(actual)
      ? []
      : [{ where: 'reason', expected: reasons[0], actual: actual.trim() }]),
  ];
}

const logPattern = /\d{4}-\d\d-\d\dT\S+ [0-9a-f]+ -1 ([^\n]*)\n?/g;
const progressPattern = /\r[^\r\n]*% complete\.\.\.(?:done\.|failed\.)?\n?/g;

/** A log line may begin in the middle of a line that rbd has not ended yet. */
function splitLog(stderr: string): { said: string; reasons: string[] } {
  const reasons = [...stderr.matchAll(logPattern)].map((match) =>
    match[1]!.replace(/^\S+: +(?:0x\S+ +)?(?:[a-z_]+: +)?/, ''),
  );
  const said = stderr
    .replaceAll(logPattern, '')
    .replaceAll(progressPattern, '')
    .replace(/\n{2,}$/, '\n');
  return { said, reasons: reasons.map((reason) => reason.replace(/: \(\d+\) .*/, '')) };
}

const asFarside = (text: string): string => text.replaceAll(/^rbd: /gm, 'farside: ');

/** As the recordings show tokens. */
function withTokensDecoded(text: string): string {
  return text.replaceAll(/\b[A-Za-z0-9+/]{80,}={0,2}/g, (token) => {
    const json = Buffer.from(token, 'base64').toString();
    return parseJson(json) === undefined ? token : `<token base64 of ${json}>`;
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
