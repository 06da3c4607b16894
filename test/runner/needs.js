/** What tests may say they need (`// needs: …`), and whether this machine has it. */
import { spawnSync } from 'node:child_process';
import { hasProgram, packageOf } from '../setup.js';

const isRoot = () => process.getuid?.() === 0;
const succeeds = (program, ...args) => spawnSync(program, args, { stdio: 'ignore' }).status === 0;
const canUnshare = () => succeeds('unshare', '--net', 'true');

/** Needs that are not a program: undefined when met, otherwise why not. */
const CONDITIONS = {
  root: () => (isRoot() ? undefined : 'root'),
  // Not installed when it is missing: the package would bring all of systemd.
  'systemd-notify': () =>
    succeeds('systemd-notify', '--version') && succeeds('/usr/bin/python3', '--version')
      ? undefined
      : 'systemd-notify and python3 (apt-get install systemd python3)',
  netns: () => {
    if (!hasProgram('ip')) return `ip (apt-get install ${packageOf('ip')})`;
    return canUnshare() ? undefined : 'the right to make network namespaces';
  },
};

function unmet(need) {
  if (Object.hasOwn(CONDITIONS, need)) return CONDITIONS[need]();
  return hasProgram(need) ? undefined : `${need} (apt-get install ${packageOf(need)})`;
}

const answers = new Map();

/** Whether a test may ask for this. */
export const isKnownNeed = (need) => Object.hasOwn(CONDITIONS, need) || packageOf(need) !== undefined;

/**
 * The needs this machine does not meet, each with what would help. Looked up once per need and run.
 * @param {string[]} needs  known ones
 * @returns {string[]}
 */
export function unmetNeeds(needs) {
  for (const need of needs) if (!answers.has(need)) answers.set(need, unmet(need));
  return needs.flatMap((need) => answers.get(need) ?? []);
}
