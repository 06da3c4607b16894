import type { ListenerStatistics } from '@scistream/core';

type Row = Readonly<Record<string, string>>;

interface Traffic {
  readonly bytesIn: number;
  readonly bytesOut: number;
}

/** Counters of one frontend, and what the next reading needs. */
export interface Reading {
  readonly statistics: ListenerStatistics;
  /** Attempts that have not failed. An attempt in progress counts until it fails. */
  readonly reached: number;
  /** Connections that had failed to reach the target when one was last seen to reach it, or the target changed. */
  readonly unreachableBefore: number;
}

/**
 * Counters of the frontends f0, f1 … of one instance. Without `option contstats` the bytes of a connection appear in
 * `show stat` only after it has ended; until then `show sess all` has them. No byte is in both. A connection that ends
 * between the two commands is in neither, so `stat` must be read first, and counters never fall below `before`.
 * @param stat Reply to `show stat` (management guide §9.1).
 * @param sessions Reply to `show sess all`, read after `stat`.
 * @param before The previous result for the same instance.
 * @param retargeted Whether the target has changed since then.
 */
export function countersOf(
  stat: string,
  sessions: string,
  listeners: number,
  before: readonly Reading[] = [],
  retargeted = false,
): readonly Reading[] {
  const rows = parseStat(stat);
  const live = parseSessions(sessions);
  return Array.from({ length: listeners }, (_, i) => {
    const frontend = rows.get(`f${i}/FRONTEND`);
    const backend = rows.get(`b${i}/BACKEND`);
    const open = live.get(`f${i}`);
    const last = before[i];
    const unreachable = number(backend, 'econ');
    const handshakeFailed = frontend?.['ssl_failed_handshake'] ? number(frontend, 'ssl_failed_handshake') : undefined;
    const resetByConsumer = number(backend, 'cli_abrt');
    // Includes resets (srv_abrt).
    const resetByProducer = number(backend, 'eresp');
    const reached = number(backend, 'connect') - number(backend, 'wretr') - number(backend, 'wredis') - unreachable;
    const works = retargeted || reached > (last?.reached ?? 0);
    const unreachableBefore = works ? unreachable : (last?.unreachableBefore ?? 0);
    const statistics = {
      // Only probes of the other gateway are denied after the handshake (dreq).
      connections: number(frontend, 'stot') - number(frontend, 'dreq'),
      open: number(frontend, 'scur'),
      bytesIn: Math.max(number(frontend, 'bin') + (open?.bytesIn ?? 0), last?.statistics.bytesIn ?? 0),
      bytesOut: Math.max(number(frontend, 'bout') + (open?.bytesOut ?? 0), last?.statistics.bytesOut ?? 0),
      errors: unreachable + (handshakeFailed ?? 0) + resetByConsumer + resetByProducer,
      refused: number(frontend, 'dcon'),
      failures: {
        unreachable,
        unreachableNow: unreachable - unreachableBefore,
        ...(handshakeFailed === undefined ? {} : { handshakeFailed }),
        resetByConsumer,
        resetByProducer,
      },
    };
    return { statistics, reached, unreachableBefore };
  });
}

function parseStat(csv: string): ReadonlyMap<string, Row> {
  const [header = '', ...lines] = csv.split('\n');
  const names = header.replace(/^# /, '').split(',');
  const rows = lines.map((line) => line.split(',')).map((cells) => names.map((name, i) => [name, cells[i] ?? '']));
  return new Map(
    rows.map((cells) => Object.fromEntries(cells) as Row).map((row) => [`${row.pxname}/${row.svname}`, row]),
  );
}

/** Sums the bytes that the open connections of each frontend have carried so far. */
function parseSessions(dump: string): ReadonlyMap<string, Traffic> {
  const sums = new Map<string, Traffic>();
  for (const session of dump.split(/^(?=0x)/m)) {
    const frontend = /^ +frontend=(\S+)/m.exec(session)?.[1] ?? '';
    const sum = sums.get(frontend) ?? { bytesIn: 0, bytesOut: 0 };
    const total = (channel: string): number =>
      Number(new RegExp(`^ +${channel}=.*\\btotal=(\\d+)`, 'm').exec(session)?.[1] ?? 0);
    sums.set(frontend, { bytesIn: sum.bytesIn + total('req'), bytesOut: sum.bytesOut + total('res') });
  }
  return sums;
}

const number = (row: Row | undefined, column: string): number => Number(row?.[column] ?? 0);
