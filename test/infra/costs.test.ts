// The costs that README states: its prices are those of infra/prices.ts, and every sum is what its arithmetic says.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { awsPrices, cloudflarePrices } from '../../infra/prices.ts';

const readme = readFileSync(join(import.meta.dirname, '../../README.md'), 'utf8');
const costs = /^## Costs$(.*?)^## /ms.exec(readme)![1]!;

test.each([
  ['Cloudflare', cloudflarePrices],
  ['AWS', awsPrices],
])('README names the prices of %s', (cloud, prices) => {
  const paragraph = costs.split('\n').find((line) => line.startsWith(`**${cloud}**`))!;
  const named = (paragraph.match(/\d+\.\d+/g) ?? []).map(Number);
  expect(named.map(String).toSorted()).toEqual(Object.values(prices).map(String).toSorted());
});

/** `131,072 × 4.50 / 10⁶ = $0.59` anywhere in the section. */
const sums = [...costs.matchAll(/([\d(][\d,.\s×+/()⁶−]*?) = \*{0,2}\$([\d,.]*\d)/g)].map((match) => ({
  arithmetic: match[1]!,
  dollars: match[2]!,
}));

test('README works its costs out', () => {
  expect(sums.length).toBeGreaterThan(20);
  const wrong = sums.filter(
    ({ arithmetic, dollars }) => valueOf(arithmetic).toFixed(decimals(dollars)) !== plain(dollars),
  );
  expect(wrong.map(({ arithmetic, dollars }) => `${arithmetic} is ${valueOf(arithmetic)}, not ${dollars}`)).toEqual([]);
});

const plain = (text: string): string => text.replaceAll(',', '');
const decimals = (text: string): number => text.split('.')[1]?.length ?? 0;

/** Sums of products and quotients; brackets within one level. */
function valueOf(text: string): number {
  const flat = plain(text)
    .replaceAll('10⁶', '1000000')
    .replaceAll(/\(([^()]*)\)/g, (_, inner: string) => String(valueOf(inner)));
  return flat
    .replaceAll('−', '+ -1 ×')
    .split('+')
    .reduce((sum, term) => sum + productOf(term), 0);
}

function productOf(term: string): number {
  const [first, ...rest] = term.trim().split(/\s*([×/])\s*/);
  return rest.reduce(
    (value, part, index) =>
      index % 2 === 0 ? value : rest[index - 1] === '×' ? value * Number(part) : value / Number(part),
    Number(first),
  );
}
