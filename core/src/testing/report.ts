import { appendFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Registers a test with any runner: uvu, node:test, vitest, mocha. */
export type TestFunction = (name: string, run: () => Promise<void>) => void;

/** Labels of a result. */
export interface ReportedBy {
  /** Row of the result table. */
  readonly proxy: string;
  /** Column of the result table. */
  readonly runtime: string;
}

/** A case that is not run for a proxy. It is listed below the result table. */
export interface SkippedCase {
  /** Title of the case. */
  readonly title: string;
  readonly reason: string;
}

/** Reports a case that was not run, and why. */
export async function reportSkipped(by: ReportedBy, { title, reason }: SkippedCase): Promise<void> {
  await write({ ...by, case: title, reason });
}

/**
 * Runs a case. If SCISTREAM_CONTRACT_REPORT names a directory, appends the result and its duration as one line of JSON
 * to a file there. A test runner can build a table from all results.
 * @param reason Why the case was run with weaker conditions, if it was.
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
