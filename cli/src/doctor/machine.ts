import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { ok, problem, warning, type Finding } from './finding.js';

/** Date of the first release; a clock before it is wrong. */
const FIRST_RELEASE = Date.UTC(2025, 0, 1);

/** Checks what every program of SciStream needs: Node.js and the clock. */
export async function checkMachine(): Promise<readonly Finding[]> {
  return [checkNode(process.versions.node), await checkClock()];
}

/** @param version For example 20.19.0. */
function checkNode(version: string): Finding {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major > 20 || (major === 20 && minor >= 19)) return ok('Node.js', `Version ${version}.`);
  return problem(
    'Node.js',
    `Version ${version} is too old; 20.19 or newer is required.`,
    'Install the current LTS release of Node.js.',
  );
}

async function checkClock(): Promise<Finding> {
  const now = new Date();
  const set = 'Synchronize it: timedatectl set-ntp true';
  if (now.getTime() < FIRST_RELEASE) return problem('clock', `The clock is wrong: it shows ${now.toISOString()}.`, set);
  const { stdout } = await promisify(execFile)('timedatectl', ['show', '--property=NTPSynchronized', '--value'], {
    timeout: 5_000,
  }).catch(() => ({ stdout: '' }));
  if (stdout.trim() === 'yes') return ok('clock', 'The clock is synchronized.');
  if (stdout.trim() === 'no') return warning('clock', 'The clock is not synchronized; certificates depend on it.', set);
  return ok('clock', `The clock shows ${now.toISOString()}; its synchronization is unknown.`);
}
