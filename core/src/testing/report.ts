import { appendFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Registers a test with any runner: uvu's, node:test's, vitest's, mocha's. */
export type TestFunction = (name: string, run: () => Promise<void>) => void;

/** Whose result a case is. */
export interface ReportedBy {
  /** Row of the result table. */
  readonly proxy: string;
  /** Column of the result table. */
  readonly runtime: string;
}

/**
 * Runs a case and writes how it went as one line of JSON to a file in the directory that SCISTREAM_CONTRACT_REPORT names,
 * if it names one. Who runs the tests can make a table of them all.
 */
export async function reported(by: ReportedBy, title: string, run: () => Promise<void>): Promise<void> {
  const directory = process.env.SCISTREAM_CONTRACT_REPORT;
  let ok = false;
  try {
    await run();
    ok = true;
  } finally {
    if (directory) {
      await appendFile(join(directory, `${process.pid}.jsonl`), `${JSON.stringify({ ...by, case: title, ok })}\n`);
    }
  }
}
