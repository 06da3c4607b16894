/** Helpers of command-line programs: text for a terminal, errors of any thrown value, and the version of the package. */
export { printable, printableJson, printableLine, toSciStreamError } from './contracts/errors.js';
export { formatCount, formatRate } from './contracts/units.js';
export { VERSION } from './contracts/version.js';
