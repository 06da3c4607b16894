import { quote, SciStreamError } from '@scistream/core';

/** Words of other programs, and ours for the same thing. The first one that the topic has is suggested. */
const ALSO_CALLED: Readonly<Record<string, readonly string[]>> = {
  add: ['install', 'add'],
  create: ['up', 'init', 'new'],
  delete: ['down', 'uninstall'],
  describe: ['status', 'inspect', 'show'],
  get: ['status', 'show', 'ls'],
  history: ['events'],
  list: ['ls'],
  log: ['logs', 'events'],
  logs: ['logs', 'events'],
  remove: ['down', 'uninstall'],
  rm: ['down', 'uninstall'],
  show: ['status', 'inspect', 'ls'],
  start: ['up'],
  stop: ['down', 'drain'],
};

/** The error for an unknown command, with the closest known command as a suggestion; undefined for another error. */
export async function unknownCommand(error: unknown): Promise<SciStreamError | undefined> {
  const typed = error instanceof Error ? /^command (.+) not found$/.exec(error.message)?.[1] : undefined;
  if (typed === undefined) return undefined;
  const [{ nearest }, { COMMANDS }] = await Promise.all([
    import('@scistream/core/config'),
    import('./commands/index.js'),
  ]);
  const ids = Object.entries(COMMANDS).flatMap(([id, { hidden }]) => (hidden ? [] : [id.replaceAll(':', ' ')]));
  const name = typed.replaceAll(':', ' ');
  const [first = ''] = name.split(' ', 1);
  const below = (topic: string): readonly string[] =>
    ids.flatMap((id) => (id.startsWith(topic) ? [id.slice(topic.length)] : []));
  // After a known topic only the rest is compared; otherwise any mistyped word resembles another command of the topic.
  const topic = below(`${first} `).length > 0 ? `${first} ` : '';
  const meant = nearest(name.slice(topic.length), below(topic)) ?? ours(name.slice(topic.length), below(topic));
  // Most people mean a stream.
  const ofStream = topic === '' && meant === undefined ? ours(name, below('stream ')) : undefined;
  const suggestion = ofStream === undefined ? `${topic}${meant ?? '--help'}` : `stream ${ofStream}`;
  return new SciStreamError('SCI_USAGE', `Unknown command ${quote(name)}.`, {
    suggestions: [`scistream ${suggestion}`],
  });
}

/** The word itself, or ours for the same thing, if it is among `known`. */
function ours(typed: string, known: readonly string[]): string | undefined {
  const [word = ''] = typed.split(' ', 1);
  const names = Object.hasOwn(ALSO_CALLED, word) ? (ALSO_CALLED[word] ?? []) : [];
  return [word, ...names].find((name) => known.includes(name));
}
