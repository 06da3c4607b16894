#!/usr/bin/env node
import { parseArgs } from 'node:util';
import { parseAddresses, parseRate, parseSize, parseWhole } from './arguments.js';
import { readFlags, runCommand } from './command.js';
import { runProducer } from './run-producer.js';

const HELP = `Sends detector-like frames to every client.

  producer --listen host:port[,host:port…] [flags]

  --listen host:port    repeatable or comma-separated; port 0 selects a free one
  --frame-size 1MiB     payload of a frame: B, kB, MB, GB, KiB, MiB, GiB
  --rate 0              frames per second on each connection, 0 = unlimited
  --count 0             total number of frames, split between the listeners, 0 = until stopped
  --seed 1              seed of the pseudo-random payload
  --first-sequence 0    number of the first frame on each connection
  --once                exit after every listener has served a client
  --no-sha256           omit the SHA-256 of the closing frame (faster)
  --json                print the summary as JSON

The first line on stdout contains the actual addresses: {"listening":["127.0.0.1:40001"]}
`;

await runCommand(async (signal) => {
  const flags = readFlags(
    () =>
      parseArgs({
        options: {
          listen: { type: 'string', multiple: true },
          'frame-size': { type: 'string', default: '1MiB' },
          rate: { type: 'string', default: '0' },
          count: { type: 'string', default: '0' },
          seed: { type: 'string', default: '1' },
          'first-sequence': { type: 'string', default: '0' },
          once: { type: 'boolean', default: false },
          'no-sha256': { type: 'boolean', default: false },
          json: { type: 'boolean', default: false },
        },
      }).values,
    HELP,
  );
  const options = {
    listen: parseAddresses('--listen', flags.listen, 0),
    frameBytes: parseSize('--frame-size', flags['frame-size']),
    rate: parseRate('--rate', flags.rate),
    count: parseWhole('--count', flags.count, 2 ** 52),
    seed: parseWhole('--seed', flags.seed, 2 ** 32 - 1),
    firstSequence: parseWhole('--first-sequence', flags['first-sequence'], 2 ** 52),
    once: flags.once,
    sha256: !flags['no-sha256'],
    onListening: (listening: string[]) => process.stdout.write(`${JSON.stringify({ listening })}\n`),
    onClientLost: (sentence: string) => process.stderr.write(`${sentence}\n`),
  };
  const summary = await runProducer(options, signal);
  const { served, lost, frames, bytes, seconds, gbps } = summary;
  process.stdout.write(
    flags.json
      ? `${JSON.stringify(summary)}\n`
      : `${frames} frames, ${bytes} bytes in ${seconds.toFixed(2)} s (${gbps.toFixed(2)} Gb/s): ` +
          `${served} clients served, ${lost} lost\n`,
  );
  return 0;
});
