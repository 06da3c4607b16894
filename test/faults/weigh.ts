/**
 * Given to a daemon by `node --import`: at SIGUSR2 it collects garbage and writes how many bytes are in use then to the
 * file that SCISTREAM_TEST_WEIGHT names. Resident memory tells little: it follows what was once in use.
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
