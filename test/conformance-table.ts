// Prints what the conformance suite found, as a table of cases and drivers, from vitest's JSON report. A case that one driver
// was not asked shows as such.

import { readFileSync } from 'node:fs';

import { getBorderCharacters, table } from 'table';

type Assertion = { status: string; fullName: string };
type Report = { testResults: { assertionResults: Assertion[] }[] };

const path = process.argv[2];
if (path === undefined) throw new Error('usage: conformance-table.ts REPORT');
const report: Report = JSON.parse(readFileSync(path, 'utf8'));

const shown: Record<string, string> = { passed: 'yes', failed: 'NO', pending: 'skipped', skipped: 'skipped' };
const assertions = report.testResults.flatMap((file) => file.assertionResults);
/** `describeBucket` names its suites `<driver> driver`; every driver is asked what the memory driver is. */
const cases = assertions.flatMap(({ fullName }) => /^memory driver (.+)$/.exec(fullName)?.[1] ?? []);
const answers = new Map<string, Map<string, string>>();
for (const { status, fullName } of assertions) {
  const name = cases.find((one) => fullName.endsWith(` driver ${one}`));
  if (name === undefined) continue;
  const driver = fullName.slice(0, -` driver ${name}`.length).replace('on a real server ', '');
  const ofDriver = answers.get(driver) ?? new Map<string, string>();
  answers.set(driver, ofDriver.set(name, shown[status] ?? status));
}
const drivers = [...answers.keys()].toSorted();
const rows = cases.map((name) => [name, ...drivers.map((driver) => answers.get(driver)?.get(name) ?? '-')]);
const plain = { drawHorizontalLine: (index: number) => index === 1, columns: [{ width: 100, truncate: 100 }] };
process.stdout.write(table([['case', ...drivers], ...rows], { border: getBorderCharacters('ramac'), ...plain }));
