import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { ok, problem, warning, type Finding } from './finding.js';

/** Of the first version; a clock before it is wrong for certain. */
const FIRST_RELEASE = Date.UTC(2025, 0, 1);

/** What matters to every program of SciStream: Node.js and the clock. */
export async function checkMachine(): Promise<readonly Finding[]> {
  return [checkNode(process.versions.node), await checkClock()];
}

/** @param version Such as 20.19.0. */
function checkNode(version: string): Finding {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major > 20 || (major === 20 && minor >= 19)) return ok('Node.js', `version ${version}.`);
  return problem('Node.js', `Version ${version} is too old: 20.19 is needed.`, 'Install the current LTS of Node.js.');
}

async function checkClock(): Promise<Finding> {
  const now = new Date();
  const set = 'timedatectl set-ntp true';
  if (now.getTime() < FIRST_RELEASE) return problem('clock', `It is not ${now.toISOString()}.`, set);
  const { stdout } = await promisify(execFile)('timedatectl', ['show', '--property=NTPSynchronized', '--value'], {
    timeout: 5_000,
  }).catch(() => ({ stdout: '' }));
  if (stdout.trim() === 'yes') return ok('clock', 'synchronized.');
  if (stdout.trim() === 'no') return warning('clock', 'Nothing keeps it right, and certificates are valid by it.', set);
  return ok('clock', `${now.toISOString()}; whether something keeps it right could not be found out.`);
}
