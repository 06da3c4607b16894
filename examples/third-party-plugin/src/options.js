/**
 * The options under `proxies.forward`.
 * @typedef {object} ForwardOptions
 * @property {number} backlog Connections that the kernel queues while the program is busy.
 */

const DEFAULTS = { backlog: 511 };

/**
 * The schema of the options in the form of https://standardschema.dev. It is written by hand to show that no library is
 * needed; a schema of zod, valibot or arktype works as well.
 * @type {import('@scistream/core').OptionsSchema<ForwardOptions>}
 */
export const forwardOptions = {
  '~standard': {
    version: 1,
    vendor: 'scistream-plugin-forward',
    validate(value) {
      const options = { ...DEFAULTS, .../** @type {object} */ (value) };
      const unknown = Object.keys(options).find((key) => !(key in DEFAULTS));
      if (unknown !== undefined) return { issues: [{ message: 'is not an option of forward', path: [unknown] }] };
      const { backlog } = options;
      const fits = Number.isInteger(backlog) && backlog >= 1 && backlog <= 65535;
      return fits
        ? { value: { backlog } }
        : { issues: [{ message: 'must be a whole number, 1 to 65535', path: ['backlog'] }] };
    },
  },
};
