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

/** A case that a proxy need not pass, which stands below the table of results. */
export interface NotDemanded {
  /** Title of the case. */
  readonly title: string;
  readonly reason: string;
}

/** Notes that a case was not tried, and why. */
export async function notDemanded(by: ReportedBy, { title, reason }: NotDemanded): Promise<void> {
  await write({ ...by, case: title, reason });
}

/**
 * Runs a case and writes how it went, and how long that took, as one line of JSON to a file in the directory that SCISTREAM_CONTRACT_REPORT names,
 * if it names one. Who runs the tests can make a table of them all.
 * @param reason Why less was demanded than the case says, where that is so.
 */
export async function reported(
  by: ReportedBy,
  title: string,
  run: () => Promise<void>,
  reason?: string,
): Promise<void> {
  const begun = performance.now();
  let ok = false;
  try {
    await run();
    ok = true;
  } finally {
    await write({ ...by, case: title, ok, reason, ms: Math.round(performance.now() - begun) });
  }
}

async function write(result: object): Promise<void> {
  const directory = process.env.SCISTREAM_CONTRACT_REPORT;
  if (directory) await appendFile(join(directory, `${process.pid}.jsonl`), `${JSON.stringify(result)}\n`);
}
