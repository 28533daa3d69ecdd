// Owns plain-text tables as Ceph prints them: columns two spaces apart, each padded to its widest cell, the last one too;
// headers on the left, cells on the side that the column says. (The `table` package aligns a header like its cells and
// trims what it pads, so it cannot print these.)

export type Column = { header: string; align?: 'left' | 'right' };

const gap = '  ';

export function textTable(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const cells = rows.map((row) => columns.map((_, index) => oneLine(row[index] ?? '')));
  const widths = columns.map((column, index) =>
    Math.max(width(column.header), ...cells.map((row) => width(row[index]!))),
  );
  const line = (texts: readonly string[], align: (index: number) => Column['align']): string =>
    `${texts.map((text, index) => pad(text, widths[index]!, align(index))).join(gap)}\n`;
  const headers = columns.map((column) => column.header);
  return [line(headers, () => 'left'), ...cells.map((row) => line(row, (index) => columns[index]!.align))].join('');
}

/** Control characters in a name must not break the table (or the terminal). */
export const oneLine = (text: string): string => text.replace(/\p{Cc}/gu, '?');

const width = (text: string): number => [...text].length;

function pad(text: string, columns: number, align: Column['align']): string {
  const padding = ' '.repeat(columns - width(text));
  return align === 'right' ? padding + text : text + padding;
}
