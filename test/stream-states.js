/** The text of docs/reference/stream-states.md: the life table of core as a diagram and as tables. Needs a build of core. */
import 'reflect-metadata';
import { ACTIONS, EVENTS, LIFE, STATES } from '@scistream/core/internal';

const table = (head, rows) => [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |\n`).join('');

/** Every accepted or rejected pair of the table. */
const pairs = Object.entries(LIFE).flatMap(([event, cells]) =>
  Object.keys(STATES).flatMap((state) => (cells[state] ? [{ event, state, cell: cells[state] }] : [])),
);

/** A Mermaid diagram of all changes of state; events that lead from one state to the same other one share an arrow. */
function diagram() {
  const arrows = new Map([['[*] --> reserving', ['request']]]);
  for (const { event, state, cell } of pairs) {
    if (!cell.to || cell.to === state) continue;
    const arrow = `${state} --> ${cell.to}`;
    arrows.set(arrow, [...(arrows.get(arrow) ?? []), event]);
  }
  const lines = [...arrows].map(([arrow, events]) => `  ${arrow}: ${events.join(', ')}\n`);
  const ends = ['released', 'failed'].map((state) => `  ${state} --> [*]\n`);
  return `\`\`\`mermaid\nstateDiagram-v2\n${lines.join('')}${ends.join('')}\`\`\`\n`;
}

/** The outcome of one pair, in words. */
function outcome(state, cell) {
  if (cell === 'ignore') return ['unchanged', 'none, the event is ignored'];
  if (cell.reject) return ['unchanged', `rejected with [${cell.reject}](errors.md#${cell.reject.toLowerCase()})`];
  return [cell.to && cell.to !== state ? `\`${cell.to}\`` : 'unchanged', cell.action ? ACTIONS[cell.action] : 'none'];
}

/** Rows of the transition table; states with the same outcome share a row. */
function transitions() {
  const rows = new Map();
  for (const { event, state, cell } of pairs) {
    const [next, action] = outcome(state, cell);
    const key = JSON.stringify([event, next, action]);
    rows.set(key, [...(rows.get(key) ?? []), `\`${state}\``]);
  }
  return [...rows].map(([key, states]) => {
    const [event, next, action] = JSON.parse(key);
    return [`\`${event}\``, states.join(', '), next, action];
  });
}

export function streamStatesPage() {
  const meanings = (of) => Object.entries(of).map(([name, meaning]) => [`\`${name}\``, meaning]);
  return [
    '<!-- Written by `npm run docs` from core/src/control/streams/life.ts. -->\n# Stream states\n',
    'A control server keeps one state for each of its streams. The other side of a stream has its own state on its own',
    'control server. `scistream stream status` derives the state that it shows from this one and from the connections.\n',
    diagram(),
    '## States\n',
    table(['state', 'meaning'], meanings(STATES)),
    '## Events\n',
    table(['event', 'occurs when'], meanings(EVENTS)),
    '## Transitions\n',
    'The next state is stored before the action starts. Pairs of state and event that are not in this table cannot occur.\n',
    table(['event', 'state', 'next state', 'action'], transitions()),
  ].join('\n');
}
