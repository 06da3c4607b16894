import { spawn } from 'node:child_process';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { formatDuration, quote, SciStreamError, type ErrorCode } from '@scistream/core';
import type { S2csConfig, S2dsConfig } from '@scistream/core/config';
import type { FoundPlugin, Offer } from '@scistream/core/server';

/** Time for all the code of one plugin, ms. More than the deadlines of an import and of a ping together. */
const TRIAL_MS = 20_000;
/** CPU time of one plugin, s. Ends the process also when its parent was killed. */
const CPU_S = 30;
/** Memory that the process may write, KiB, and the JavaScript heap in it, MiB. */
const MEMORY_KIB = 1024 * 1024;
const HEAP_MIB = 256;
/** Maximum length of an answer. */
const ANSWER_LIMIT = 65_536;
/** Plugins that run at the same time. */
const WIDTH = 4;

/** What the program `plugin-trial` reads: the plugin, and what it has to do. */
export interface TrialRequest {
  readonly plugin: Omit<FoundPlugin, 'error'>;
  readonly options: Pick<S2csConfig | S2dsConfig, 'proxies' | 'runtimes'>;
  /** Also checks the configured options of the providers of this kind, and pings runtimes. */
  readonly use?: 'proxy' | 'runtime';
}

/** One provider of a plugin. */
export interface Tried<Failure = SciStreamError> extends Pick<Offer, 'kind' | 'id'> {
  readonly maxConnections?: number;
  /** The reason why it cannot be used with its configured options. */
  readonly error?: Failure;
}

/** What the program `plugin-trial` writes. */
export type TrialAnswer<Failure = SciStreamError> =
  | { readonly error: Failure; readonly provides?: undefined }
  | { readonly error?: undefined; readonly provides: readonly Tried<Failure>[] };

/** A {@link SciStreamError} in JSON. */
interface Sent {
  readonly code: ErrorCode;
  readonly message: string;
  readonly suggestions: readonly string[];
}

/**
 * Runs the code of a plugin in a process of its own: the loading order, the examples of the manifest, and `create` of each
 * provider on the fake runtime. The plugin cannot end, block or fill the caller, and its process has ended afterwards. Never
 * throws: what is wrong with the plugin is the `error` of the answer (`SCI_PLUGIN_*`).
 */
export async function tryPlugin(
  plugin: FoundPlugin,
  { options = { proxies: {}, runtimes: {} }, use }: Partial<Omit<TrialRequest, 'plugin'>> = {},
): Promise<TrialAnswer> {
  const { error, ...found } = plugin;
  if (error) return { error };
  const request: TrialRequest = {
    plugin: found,
    options: { proxies: options.proxies, runtimes: options.runtimes },
    ...(use && { use }),
  };
  const { answer, why } = await run(request);
  const known = why === undefined ? received(answer) : undefined;
  if (known) return known;
  // A plugin that finds the descriptor of the answer can write anything to it.
  const reason = why ?? 'it wrote an answer that is not one';
  return {
    error: new SciStreamError('SCI_PLUGIN_LOAD_FAILED', `Cannot load ${plugin.name}: ${reason}.`, {
      suggestions: [`Report this to the authors of ${plugin.name}.`, `scistream plugin uninstall ${plugin.name}`],
    }),
  };
}

/** {@link tryPlugin} for the plugins that are not part of SciStream, a few at a time; by name. */
export async function tryPlugins(
  plugins: readonly FoundPlugin[],
  work: Partial<Omit<TrialRequest, 'plugin'>> = {},
): Promise<ReadonlyMap<string, TrialAnswer>> {
  const queue = plugins.filter(({ type }) => type !== 'core').values();
  const answers = new Map<string, TrialAnswer>();
  const worker = async (): Promise<void> => {
    for (const plugin of queue) answers.set(plugin.name, await tryPlugin(plugin, work));
  };
  await Promise.all(Array.from({ length: WIDTH }, worker));
  return answers;
}

/** Runs the program. `why` is the reason why there is no answer. */
async function run(request: TrialRequest): Promise<{ readonly answer: string; readonly why?: string }> {
  const limits = `ulimit -t ${CPU_S}; ulimit -d ${MEMORY_KIB}; exec "$0" "$@"`;
  const script = fileURLToPath(new URL('./plugin-trial.js', import.meta.url));
  const args = ['-c', limits, process.execPath, `--max-old-space-size=${HEAP_MIB}`, script];
  const child = spawn('/bin/sh', args, { stdio: ['pipe', 'pipe', 'ignore', 'pipe'] });
  const report = child.stdio[3] as Readable;
  let answer = '';
  let timer: NodeJS.Timeout | undefined;
  const ended = new Promise<string | undefined>((done) => {
    timer = setTimeout(done, TRIAL_MS, `its code did not finish in ${formatDuration(TRIAL_MS)}`);
    report.on('data', (part: Buffer) => {
      answer += part.toString('latin1');
      if (answer.length > ANSWER_LIMIT) done('its answer is too long');
      else if (answer.endsWith('\n')) done(undefined);
    });
    child.stdout?.once('data', (part: Buffer) => done(`its code writes to stdout: ${quote(part.toString())}`));
    child.once('error', (error) => done(`its process did not start: ${error.message}`));
    child.once('close', (code, signal) => done(endOf(code, signal)));
  });
  // A child that has ended reads nothing.
  child.stdin?.on('error', () => undefined).end(JSON.stringify(request));
  const why = await ended;
  clearTimeout(timer);
  child.kill('SIGKILL');
  for (const stream of [child.stdin, child.stdout, report]) stream?.destroy();
  return { answer: Buffer.from(answer, 'latin1').toString(), ...(why !== undefined && { why }) };
}

function endOf(code: number | null, signal: NodeJS.Signals | null): string {
  if (signal === null) return `its code ended the process with exit code ${code}`;
  return `its process crashed (${signal}); it may use ${HEAP_MIB} MB of JavaScript heap`;
}

/** The answer of the program; undefined if the text is none. */
function received(line: string): TrialAnswer | undefined {
  try {
    const { error, provides } = JSON.parse(line) as TrialAnswer<Sent>;
    if (error) return { error: restored(error) };
    return {
      provides: provides.map(({ error: failure, ...one }) => ({
        ...one,
        ...(failure && { error: restored(failure) }),
      })),
    };
  } catch {
    return undefined;
  }
}

const restored = ({ code, message, suggestions }: Sent): SciStreamError =>
  new SciStreamError(code, message, { suggestions });
