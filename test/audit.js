/**
 * Asks the registry for known faults of the dependencies. Fails for high and critical ones; where the registry has no answer
 * to give (no network, a mirror without this service), says so and passes, because that is no fault of a change.
 */
import { spawnSync } from 'node:child_process';

const LIMIT_MS = 120_000;
const { stdout, stderr, error } = spawnSync('npm', ['audit', '--audit-level=high', '--json'], {
  encoding: 'utf8',
  maxBuffer: 1e8,
  timeout: LIMIT_MS,
});

/** What npm printed, if it was an answer. */
function answer() {
  try {
    return JSON.parse(stdout);
  } catch {
    return {};
  }
}

const { metadata, vulnerabilities = {}, message, error: refusal } = answer();
const counts = metadata?.vulnerabilities;
if (counts) {
  const bad = Object.values(vulnerabilities).filter(({ severity }) => severity === 'high' || severity === 'critical');
  for (const { name, severity, range } of bad) process.stdout.write(`${severity}: ${name} ${range}\n`);
  process.stdout.write(`npm audit: ${counts.total} known faults, ${counts.high} high, ${counts.critical} critical\n`);
  process.exitCode = bad.length > 0 ? 1 : 0;
} else {
  const why = error?.message || refusal?.summary || message || stderr?.trim().split('\n').at(-1) || 'no answer';
  process.stdout.write(`npm audit: NOT CHECKED, the registry did not answer: ${String(why).split('\n')[0]}\n`);
}
