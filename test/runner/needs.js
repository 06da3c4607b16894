/** The words that tests may use in `// needs: …`, and whether this machine has these things. */
import { spawnSync } from 'node:child_process';
import { hasProgram, packageOf } from '../setup.js';

const isRoot = () => process.getuid?.() === 0;
const succeeds = (program, ...args) => spawnSync(program, args, { stdio: 'ignore' }).status === 0;
const canUnshare = () => succeeds('unshare', '--net', 'true');

/** Needs that are not programs. Each returns undefined if it is met, otherwise the reason. */
const CONDITIONS = {
  root: () => (isRoot() ? undefined : 'root'),
  // Not installed automatically, because the package brings all of systemd.
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

/** Whether a test may declare this need. */
export const isKnownNeed = (need) => Object.hasOwn(CONDITIONS, need) || packageOf(need) !== undefined;

/**
 * The needs that this machine does not meet, each with the command that would help. Checks each need once per run.
 * @param {string[]} needs  known ones
 * @returns {string[]}
 */
export function unmetNeeds(needs) {
  for (const need of needs) if (!answers.has(need)) answers.set(need, unmet(need));
  return needs.flatMap((need) => answers.get(need) ?? []);
}
