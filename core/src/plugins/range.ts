type Version = readonly [number, number, number];

/** Compares as https://semver.org §11 does, without pre-releases. */
const compare = (a: Version, b: Version): number => a[0] - b[0] || a[1] - b[1] || a[2] - b[2];

function parse(text: string): { readonly version: Version; readonly given: number } | undefined {
  const match = /^v?(\d+|x|\*)(?:\.(\d+|x|\*))?(?:\.(\d+|x|\*))?(?:[-+].*)?$/i.exec(text);
  if (!match) return undefined;
  const parts = match.slice(1).map((part) => (part === undefined || /[x*]/i.test(part) ? undefined : Number(part)));
  const [major = 0, minor = 0, patch = 0] = parts;
  const given = parts.findIndex((part) => part === undefined);
  return { version: [major, minor, patch], given: given === -1 ? 3 : given };
}

/** The first version that `operator text` does not allow any more; undefined when there is no upper end. */
function upperEnd(operator: string, [major, minor, patch]: Version, given: number): Version | undefined {
  if (given === 0) return undefined;
  if (given === 1 || (operator === '^' && major > 0)) return [major + 1, 0, 0];
  if (given === 2 || operator === '~' || (operator === '^' && minor > 0)) return [major, minor + 1, 0];
  return [major, minor, patch + 1];
}

function allows(comparator: string, version: Version): boolean {
  const match = /^(\^|~|>=|<=|>|<|=)?(.*)$/.exec(comparator);
  const operator = match?.[1] ?? '=';
  const bound = parse(match?.[2] ?? '');
  if (!bound) return false;
  const order = compare(version, bound.version);
  const end = upperEnd(operator, bound.version, bound.given);
  const beyond = end !== undefined && compare(version, end) >= 0;
  if (operator === '>=') return order >= 0;
  if (operator === '<') return order < 0;
  if (operator === '>') return beyond;
  if (operator === '<=') return !beyond;
  return order >= 0 && !beyond;
}

/**
 * Whether a version lies in a range as people write it in package.json: `^1.2`, `~1.2.3`, `>=1 <3`, `1.x`, `*`, joined
 * by `||`. Pre-release tags are ignored, and a range in any other notation allows nothing. npm has checked the range of
 * an installed plugin already; this is for those that came another way.
 */
export function satisfies(version: string, range: string): boolean {
  const parsed = parse(version);
  if (!parsed) return false;
  return range.split('||').some((alternative) => {
    const comparators = alternative
      .replace(/([<>=^~])\s+/g, '$1')
      .trim()
      .split(/\s+/);
    return comparators.every((comparator) => comparator === '' || allows(comparator, parsed.version));
  });
}
