// Owns what a benchmark says: figures with their limits, as a table and as JSON. Ratios and counts are compared with limits;
// absolute times are shown with the limit that the issue asks for, and are noise on a shared machine.

import { writeFileSync } from 'node:fs';
import { table } from 'table';

export type Figure = {
  name: string;
  value: number;
  unit: string;
  /** The value must be at most (or at least) this; without one it is reported only. */
  atMost?: number;
  atLeast?: number;
  /** What was measured, and against what. */
  note?: string;
};

export const holds = (figure: Figure): boolean =>
  (figure.atMost === undefined || figure.value <= figure.atMost) &&
  (figure.atLeast === undefined || figure.value >= figure.atLeast);

const limitText = (figure: Figure): string =>
  figure.atMost !== undefined ? `≤ ${figure.atMost}` : figure.atLeast !== undefined ? `≥ ${figure.atLeast}` : '';
const verdict = (figure: Figure): string => (limitText(figure) === '' ? '' : holds(figure) ? 'ok' : 'MISSED');

export function printTable(figures: readonly Figure[]): void {
  const rows = figures.map((figure) => [
    figure.name,
    round(figure.value),
    figure.unit,
    limitText(figure),
    verdict(figure),
    figure.note ?? '',
  ]);
  console.log(
    table([['what', 'value', 'unit', 'limit', '', 'how'], ...rows], {
      columns: { 0: { width: 44, wrapWord: true }, 1: { alignment: 'right' }, 5: { width: 60, wrapWord: true } },
    }),
  );
}

const round = (value: number): string => (Number.isInteger(value) ? String(value) : value.toPrecision(3));

/** A case that makes no sense on this store, and why. */
export type NotMeasured = { name: string; notMeasured: string };

export function writeJson(path: string, store: string, entries: readonly (Figure | NotMeasured)[]): void {
  const told = entries.map((entry) => ({ store, ...entry, ...('value' in entry && { ok: holds(entry) }) }));
  writeFileSync(path, `${JSON.stringify(told, undefined, 2)}\n`);
}

export const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
