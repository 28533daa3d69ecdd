// Prints the one line that tells how a run of the tests went, from vitest's JSON report. A test file that did not even load
// counts as one failure. A run without a report, or without a test, is a failure too.

import { readFileSync } from 'node:fs';

type Report = {
  numPassedTests: number;
  numFailedTests: number;
  numPendingTests: number;
  numTodoTests: number;
  testResults: { status: string; assertionResults: unknown[] }[];
};

const path = process.argv[2];
if (path === undefined) throw new Error('usage: closing-line.ts REPORT');
const report: Report = JSON.parse(readFileSync(path, 'utf8'));
const notLoaded = report.testResults.filter(
  (file) => file.status === 'failed' && file.assertionResults.length === 0,
).length;
const failed = report.numFailedTests + notLoaded;
const skipped = report.numPendingTests + report.numTodoTests;
process.stdout.write(
  `${report.numPassedTests} passed, ${failed} failed${skipped === 0 ? '' : `, ${skipped} skipped`}\n`,
);
process.exitCode = failed > 0 || report.numPassedTests === 0 ? 1 : 0;
