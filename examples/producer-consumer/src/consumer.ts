#!/usr/bin/env node
import { parseArgs } from 'node:util';
import { parseAddresses, parseDuration, parseWhole } from './arguments.js';
import { readFlags, runCommand } from './command.js';
import { runConsumer, type Progress, type Summary } from './run-consumer.js';

const HELP = `Receives the frames of a producer and verifies every byte.

  consumer --connect host:port[,host:port…] [flags]

  --connect host:port   repeatable or comma-separated; all connections are concurrent
  --count N             frames expected in total
  --timeout 30s         maximum time without data: ms, s, m, h
  --no-sha256           verify only the checksums of the frames (faster)
  --progress            one line per second on stderr
  --json                print the summary as JSON

Status 0: every frame arrived once, in order and intact. 1: otherwise; see stderr. 2: invalid flags.
`;

await runCommand(async (signal) => {
  const flags = readFlags(
    () =>
      parseArgs({
        options: {
          connect: { type: 'string', multiple: true },
          count: { type: 'string' },
          timeout: { type: 'string', default: '30s' },
          'no-sha256': { type: 'boolean', default: false },
          progress: { type: 'boolean', default: false },
          json: { type: 'boolean', default: false },
        },
      }).values,
    HELP,
  );
  const summary = await runConsumer({
    connect: parseAddresses('--connect', flags.connect, 1),
    ...(flags.count === undefined ? {} : { count: parseWhole('--count', flags.count, 2 ** 52) }),
    timeoutMs: parseDuration('--timeout', flags.timeout),
    sha256: !flags['no-sha256'],
    signal,
    ...(flags.progress ? { onProgress: printProgress } : {}),
  });
  process.stdout.write(flags.json ? `${JSON.stringify(summary)}\n` : describe(summary));
  for (const fault of summary.faults) process.stderr.write(`${fault}.\n`);
  return summary.faults.length === 0 ? 0 : 1;
});

function printProgress({ seconds, bytes, gbps, frames, lost }: Progress): void {
  const amounts = `${(bytes / 1e9).toFixed(2)} GB  ${gbps.toFixed(2)} Gb/s  ${frames} frames  ${lost} lost`;
  process.stderr.write(`${seconds.toFixed(0)} s  ${amounts}\n`);
}

function describe(summary: Summary): string {
  const { frames, bytes, seconds, gbps, connections, lost, duplicated, corrupt, reordered, latencyMs } = summary;
  const hash = summary.sha256Match === null ? 'not checked' : summary.sha256Match ? 'match' : 'MISMATCH';
  return (
    `${frames} frames, ${bytes} bytes in ${seconds.toFixed(2)} s (${gbps.toFixed(2)} Gb/s), ${connections} connections\n` +
    `${lost} lost, ${duplicated} duplicated, ${corrupt} corrupt, ${reordered} reordered; SHA-256 ${hash}\n` +
    `latency ${latencyMs.p50} ms median, ${latencyMs.p99} ms 99th percentile, ${latencyMs.max} ms maximum\n`
  );
}
