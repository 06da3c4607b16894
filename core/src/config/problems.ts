import type { z } from 'zod';
import { ERROR_CODES, quote, SciStreamError, type ErrorCode } from '../contracts/errors.js';
import { formatCount } from '../contracts/units.js';
import { nearest, shapeBelow, type Shape } from './shape.js';

/** Problems that an error shows. */
const MAX_SHOWN = 20;

interface Problem {
  readonly code: ErrorCode;
  /** One sentence. */
  readonly message: string;
  readonly suggestions: readonly string[];
}

/**
 * Converts the issues of a schema to one error with one sentence per problem. A single problem keeps its own code
 * (SCI_ADDRESS_INVALID, SCI_PORT_RANGE_INVALID …). Several problems become SCI_CONFIG_INVALID.
 * @param source Name of the document: the file
 */
export function configError(source: string, issues: readonly z.core.$ZodIssue[], shape: Shape): SciStreamError {
  const problems = issues.flatMap((issue) => problemsOf(issue, shape, []));
  const shown = problems.slice(0, MAX_SHOWN);
  const suggestions = [...new Set(shown.flatMap((problem) => problem.suggestions))];
  const [first, ...more] = problems;
  if (first && more.length === 0) {
    return new SciStreamError(first.code, `${source}: ${first.message}`, { suggestions });
  }
  const rest = problems.length > shown.length ? [`… and ${problems.length - shown.length} more.`] : [];
  const lines = [...shown.map(({ message }) => message), ...rest].map((line) => `\n  ${line}`).join('');
  return new SciStreamError('SCI_CONFIG_INVALID', `${source} has ${formatCount(problems.length, 'problem')}:${lines}`, {
    suggestions,
  });
}

function problemsOf(issue: z.core.$ZodIssue, shape: Shape, prefix: readonly PropertyKey[]): Problem[] {
  const path = [...prefix, ...issue.path];
  if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => unknownKey(path, key, shape));
  if (issue.code === 'invalid_union') {
    const branch = issue.errors.find((errors) =>
      errors.some((inner) => inner.path.length > 0 || inner.code === 'custom'),
    );
    if (branch) return branch.flatMap((inner) => problemsOf(inner, shape, path));
  }
  const where = path.length > 0 ? path.join('.') : 'The document';
  return [{ code: codeOf(issue), message: `${where}${textOf(issue)}`, suggestions: suggestionsOf(issue) }];
}

function unknownKey(path: readonly PropertyKey[], key: string, shape: Shape): Problem {
  const known = Object.keys(path.reduce<Shape | undefined>(shapeBelow, shape)?.properties ?? {});
  const meant = nearest(key, known);
  const full = [...path, key].join('.');
  const hint =
    meant === undefined ? `Use one of the known keys: ${known.join(', ')}.` : `Write ${[...path, meant].join('.')}.`;
  const message = `${full} is not a known key${meant === undefined ? '' : `, did you mean ${meant}?`}`;
  return { code: 'SCI_CONFIG_INVALID', message: message.replace(/([^?])$/, '$1.'), suggestions: [hint] };
}

function textOf(issue: z.core.$ZodIssue): string {
  if (issue.code === 'custom') return `${/^[a-z]+ /.test(issue.message) ? ' ' : ': '}${sentence(issue.message)}`;
  if (/^(is|has|needs) /.test(issue.message)) return ` ${sentence(issue.message)}`;
  if (issue.code === 'invalid_type' && /received undefined/.test(issue.message)) return ' is missing.';
  return `: ${sentence(issue.message.replace(/^Invalid \w+: /, ''))}`;
}

const sentence = (text: string): string => (/[.?!]$/.test(text) ? text : `${text}.`);

function codeOf(issue: z.core.$ZodIssue): ErrorCode {
  const code: unknown = issue.code === 'custom' ? issue.params?.code : undefined;
  return isErrorCode(code) ? code : 'SCI_CONFIG_INVALID';
}

const isErrorCode = (code: unknown): code is ErrorCode => typeof code === 'string' && code in ERROR_CODES;

function suggestionsOf(issue: z.core.$ZodIssue): string[] {
  const list: unknown = issue.code === 'custom' ? issue.params?.suggestions : undefined;
  return Array.isArray(list) ? list.filter((item) => typeof item === 'string') : [];
}

/** The error for a document that is not a mapping. */
export const notAMapping = (source: string, document: unknown): SciStreamError =>
  new SciStreamError('SCI_CONFIG_INVALID', `${source} is ${quote(document)} instead of keys and values.`, {
    suggestions: ['Start from: scistream config init --kind s2uc'],
  });
