import { messageOf, S2DSException, SciStreamError } from '../contracts/errors.js';
import type { ListenerStatistics } from '../contracts/stream.js';
import { formatDuration } from '../contracts/units.js';
import { within } from '../contracts/wait.js';
import { requestOf, type GatewayStream } from './store.js';
import type { GatewayParts, Stream } from './stream.js';

/** How long reading the last counters may delay a release, ms. */
const LAST_COUNTERS_MS = 2_000;

/** The counters of a stream that is about to end. Empty if the data server does not tell in time. Never rejects. */
export async function lastCounters(
  { log }: GatewayParts,
  uid: string,
  { s2ds }: Stream,
): Promise<readonly ListenerStatistics[]> {
  const late = (): Error => new Error(`no answer within ${formatDuration(LAST_COUNTERS_MS)}`);
  try {
    return (await within(s2ds.status(uid), LAST_COUNTERS_MS, late)).listeners;
  } catch (error) {
    log.debug({ uid, error: messageOf(error) }, 'last counters unknown');
    return [];
  }
}

/**
 * Ends a stream in state `releasing`. Its ports and its uid become free when nothing of it can still forward data.
 * If a step fails, the record and the leases remain, and a later call repeats all steps.
 * @param record Has the state `releasing`.
 * @param isClean True if the data server knows all instances of the stream, so that no others are searched.
 * @throws Why something may still forward: SCI_PROXY_UNKNOWN or SCI_RUNTIME_UNKNOWN if a plugin is missing, SCI_PLUGIN_*,
 * SCI_RUNTIME_UNREACHABLE, …
 */
export async function releaseStream(
  { plugins, ports, store }: GatewayParts,
  uid: string,
  record: GatewayStream,
  isClean = false,
): Promise<void> {
  const { proxy, runtime, place, keepPortsUntil } = record;
  const request = requestOf(uid, record, await ports.of(uid));
  const [released] = await Promise.allSettled([
    plugins.s2ds(proxy, runtime).then((s2ds) => s2ds.release(uid, request)),
  ]);
  // Also without the proxy: its instances stop, and only the rest waits for it.
  if (!isClean && place !== 'host') await plugins.clear(runtime, uid);
  if (released.status === 'rejected') throw released.reason;
  await store.removeCredentials(uid);
  await store.delete(uid, await ports.retire(uid, keepPortsUntil));
}

/** The error for calls that concern a stream whose release fails. It has the code of the reason. */
export function notReleased(uid: string, { plugins = [] }: GatewayStream, reason: unknown): S2DSException {
  const { code, suggestions } = SciStreamError.is(reason) ? reason : { code: 'SCI_BUG' as const, suggestions: [] };
  const missing = code === 'SCI_PROXY_UNKNOWN' || code === 'SCI_RUNTIME_UNKNOWN';
  const again = plugins.map(({ name, version }) => `scistream plugin install ${name}@${version}`);
  const repair = `Install the plugins of the stream again, and restart the daemon: ${again.join(', ') || 'see the log'}`;
  const message = `Stream ${uid} is still being released and keeps its ports, because something of it may still forward data: ${messageOf(reason)}`;
  return new S2DSException(code, message, { cause: reason, suggestions: missing ? [repair] : suggestions });
}
