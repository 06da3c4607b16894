/**
 * Loaded into a daemon by `node --import`. On SIGUSR2 it collects garbage and writes the bytes in use to the file in
 * SCISTREAM_TEST_WEIGHT. Resident memory is no measure, because it includes memory that was freed.
 */
import { renameSync, writeFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;
const file = process.env.SCISTREAM_TEST_WEIGHT ?? '';

process.on('SIGUSR2', () => {
  collect();
  const { heapUsed, external } = process.memoryUsage();
  writeFileSync(`${file}.tmp`, String(heapUsed + external));
  renameSync(`${file}.tmp`, file);
});
