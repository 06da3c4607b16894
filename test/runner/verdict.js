/** Interprets the run of one test file. The exit code of uvu is not enough. */
import { stripVTControlCharacters } from 'node:util';

const RESULT = /^ {2}Total: +(\d+)\n {2}Passed: +(\d+)\n {2}Skipped: +(\d+)$/gm;

/** Suites that a file defines but never runs. uvu ignores them silently. */
function suitesNotRun(source) {
  const made = [...source.matchAll(/^(?:const|let)\s+(\w+)\s*=\s*suite\s*[(<]/gm)].map(([, name]) => name);
  return made.filter((name) => !new RegExp(`\\b${name}\\.run\\(`).test(source));
}

/** Why a process ended without a result from uvu. */
function endWithoutResult({ code, signal }) {
  if (code === 0) return 'uvu gave no result: is run() missing?';
  return `ended ${signal ? `by ${signal}` : `with exit code ${code}`} before all tests had run`;
}

/**
 * Judges one run. A defect of the file as a whole is a reason; all reasons of a file together count as one failure.
 * uvu 0.5 exits with 0 in these cases: no test in the file, `run()` missing, a hook that throws (its error is lost and the
 * remaining tests do not run), and two results because of an await between two `run()` calls. It also has no time limit.
 * @param {{ output: string, code: number | null, signal: string | null, limit?: number, leftOver: string[] }} run
 *   limit: seconds after which the process was killed; absent if it ended without that
 * @param {string} source  text of the test file
 * @returns {{ passed: number, failed: number, skipped: number, total: number, reasons: string[] }}
 */
export function judge(run, source) {
  const results = [...stripVTControlCharacters(run.output).matchAll(RESULT)].map((match) => match.slice(1).map(Number));
  const [total, passed, skipped] = results.at(-1) ?? [0, 0, 0];
  const reasons = [];
  let failed = total - passed;
  if (run.limit !== undefined) {
    const why = results.length > 0 ? ' though its tests had: something keeps the process open' : '';
    reasons.push(`did not end within ${run.limit} s${why}`);
  } else if (results.length === 0) {
    reasons.push(endWithoutResult(run));
  } else if (run.code === 0 && failed > 0) {
    reasons.push(`${failed} of ${total} tests did not run: a hook threw`);
    failed = 0;
  } else if (run.code !== 0 && failed === 0) {
    reasons.push(`ended ${run.signal ? `by ${run.signal}` : `with exit code ${run.code}`} after its tests had passed`);
  }
  if (results.length > 1) reasons.push(`${results.length} results: an await between two run() calls loses tests`);
  if (results.length > 0 && total + skipped === 0) reasons.push('has no test');
  if (results.length > 0) reasons.push(...suitesNotRun(source).map((name) => `${name}.run() is missing`));
  if (run.leftOver.length > 0) reasons.push(`left processes behind: ${run.leftOver.join(' · ')}`);
  return { passed, failed: failed + (reasons.length > 0 ? 1 : 0), skipped, total, reasons };
}
