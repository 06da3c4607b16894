import { readFile } from 'node:fs/promises';
import { formatAddress } from '@scistream/core';
import { formatRate } from '@scistream/core/terminal';
import type { S2csConfig } from '@scistream/core/config';
import { ok, problem, warning, type Finding } from './finding.js';

/** A long path of the field: 50 ms round trip, as between the coasts of North America. */
const ROUND_TRIP_S = 0.05;
/** Maximum size of a TCP buffer that fills 10 Gbit/s on such a path, bytes. */
const BUFFER = (10e9 / 8) * ROUND_TRIP_S;

/** A setting of the kernel below `net.ipv4`; empty if it cannot be read. */
export const kernel = async (name: string): Promise<string> =>
  (await readFile(`/proc/sys/net/ipv4/${name}`, 'utf8').catch(() => '')).trim();

/**
 * Compares the largest TCP buffers with bandwidth x delay. The kernel sizes buffers itself up to `tcp_rmem` and `tcp_wmem`
 * (tcp(7)); SciStream sets none.
 */
export async function checkBuffers(): Promise<Finding> {
  const sizes = await Promise.all(
    ['tcp_rmem', 'tcp_wmem'].map(async (name) => ({ name, most: Number((await kernel(name)).split(/\s+/)[2]) })),
  );
  const small = sizes.filter(({ most }) => most < BUFFER);
  if (sizes.some(({ most }) => Number.isNaN(most))) return ok('buffers', 'The kernel does not tell its TCP buffers.');
  if (small.length === 0) return ok('buffers', 'The TCP buffers can fill 10 Gbit/s with a round trip of 50 ms.');
  const least = Math.min(...small.map(({ most }) => most));
  return warning(
    'buffers',
    `The TCP buffers are at most ${least} bytes (${small.map(({ name }) => name).join(', ')}): one connection reaches about ${formatRate(Math.round((least * 8) / ROUND_TRIP_S))} with a round trip of 50 ms.`,
    ...small.map(({ name }) => `Raise the third value: sysctl -w net.ipv4.${name}='4096 131072 ${2 ** 27}'`),
  );
}

/** Whether the control server would take a port of a gateway on the same machine. */
export function checkListen({ listen, gateways }: Pick<S2csConfig, 'listen' | 'gateways'>): Finding {
  const taken = gateways.find(
    ({ s2ds, wan, lan, ports }) =>
      s2ds === 'embedded' &&
      [wan, lan].includes(listen.host) &&
      listen.port >= ports.first &&
      listen.port <= ports.last,
  );
  const where = formatAddress(listen);
  if (!taken) return ok('listen', `${where} is outside of the ports of its gateways.`);
  const { name, ports } = taken;
  return problem(
    'listen',
    `${where} is one of the ports ${ports.first}-${ports.last} of gateway ${name}, so streams lose that port.`,
    `Set listen or gateways[].ports to other ports.`,
  );
}
