import type { S2DS } from '../contracts/s2ds.js';
import { formatDuration } from '../contracts/units.js';
import { within } from '../contracts/wait.js';
import { failed, type Author } from './guard.js';

/** How long a release waits for earlier calls, ms. */
const LATE_MS = 10_000;

/**
 * A data server whose release also covers calls that the gateway no longer waits for. A start that ignores its signal may
 * otherwise finish after the release, and forward data on ports that another stream has got.
 * @returns a data server; its `release` throws SCI_PLUGIN_FAILED while such a call has not returned
 */
export function releasingLateCalls(s2ds: S2DS, author: Author, lateMs = LATE_MS): S2DS {
  const open = new Map<string, Set<Promise<unknown>>>();
  const noted = async <T>(uid: string, call: Promise<T>): Promise<T> => {
    const calls = open.get(uid) ?? new Set();
    open.set(uid, calls.add(call));
    try {
      return await call;
    } finally {
      calls.delete(call);
      if (calls.size === 0) open.delete(uid);
    }
  };
  const methods: Partial<S2DS> = {
    start: (request, signal) => noted(request.uid, s2ds.start(request, signal)),
    updateTargets: (uid, targets, signal) => noted(uid, s2ds.updateTargets(uid, targets, signal)),
    adopt: (request, targets, signal) => noted(request.uid, s2ds.adopt(request, targets, signal)),
    release: async (uid, request, signal) => {
      await s2ds.release(uid, request, signal);
      const calls = open.get(uid);
      if (!calls) return;
      const reason = `an earlier call for the stream has not returned within ${formatDuration(lateMs)} of the release`;
      await within(Promise.allSettled(calls), lateMs, () => failed(author, 'release', reason));
      await s2ds.release(uid, request, signal);
    },
  };
  return new Proxy(s2ds, {
    get: (_, name) => {
      if (Object.hasOwn(methods, name)) return Reflect.get(methods, name) as unknown;
      const value: unknown = Reflect.get(s2ds, name, s2ds);
      return typeof value === 'function' ? (...args: unknown[]): unknown => Reflect.apply(value, s2ds, args) : value;
    },
  });
}
