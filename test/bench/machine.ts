import { readFile } from 'node:fs/promises';
import { availableParallelism, cpus, loadavg, release, totalmem } from 'node:os';
import { run } from './process.js';

/** Facts about the machine that the numbers depend on. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly kernel: string;
  readonly congestionControl: string;
  readonly node: string;
  readonly haproxy: string;
  readonly iperf3: string;
  /** Load average of the last minute before the start. */
  readonly loadAtStart: number;
  /** ISO 8601 UTC. */
  readonly startedAt: string;
}

/** Describes this machine. Call it before the first measurement. */
export async function describeMachine(): Promise<Machine> {
  const [load = NaN] = loadavg();
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    kernel: release(),
    congestionControl: await readFile('/proc/sys/net/ipv4/tcp_congestion_control', 'utf8').then(
      (text) => text.trim(),
      () => 'unknown',
    ),
    node: process.version,
    haproxy: await version(['haproxy', '-v'], /version (\S+)/),
    iperf3: await version(['iperf3', '--version'], /^iperf (\S+)/),
    loadAtStart: load,
    startedAt: new Date().toISOString(),
  };
}

async function version(command: readonly string[], pattern: RegExp): Promise<string> {
  const output = await run(command).then(
    ({ stdout }) => stdout,
    () => '',
  );
  return pattern.exec(output)?.[1] ?? 'absent';
}

/** The description as a list. */
export function machineToMarkdown(machine: Machine): string {
  const { cpu, cores, memoryBytes, kernel, congestionControl, node, haproxy, iperf3, loadAtStart, startedAt } = machine;
  return [
    `- ${cpu}, ${cores} cores, ${(memoryBytes / 2 ** 30).toFixed(1)} GiB, Linux ${kernel} (${congestionControl})`,
    `- Node.js ${node}, HAProxy ${haproxy}, iperf3 ${iperf3}`,
    `- ${startedAt}, load average at the start ${loadAtStart.toFixed(2)}`,
  ].join('\n');
}
