/** Each error that a user or operator can meet says what to do. */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { ErrorCode } from '@scistream/core';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const ERRORS = new Set(['SciStreamError', 'S2DSException']);

/** Codes of errors after which nothing is to be done, and of defects, whose text the edges complete. */
const SAY_ALL: ReadonlySet<string> = new Set<ErrorCode>([
  'SCI_BUG',
  'SCI_CLIENT_GONE',
  'SCI_SHUTTING_DOWN',
  'SCI_STREAM_CONFLICT',
  'SCI_STREAM_RELEASED',
]);

/** Places whose errors reach programs only: they reject messages and calls that no part of SciStream sends. */
const BETWEEN_PROGRAMS: readonly RegExp[] = [
  /^core\/src\/(?:wire|store|testing|gateway)\//,
  /^core\/src\/control\/door\//,
  /^core\/src\/(?:proxy\/proxy-container|runtime\/process-runtime)\.ts$/,
  /^plugins\/(?:dockersock|janus)\/src\/\w+-runtime\.ts$/,
];

/** Files with an error whose suggestions the caller gives. */
const PASSED_ON: readonly string[] = ['core/src/client/rpc-errors.ts'];

/** The source files of all packages. */
function sources(): readonly string[] {
  const roots = ['core', 'cli', ...readdirSync(join(ROOT, 'plugins')).map((name) => `plugins/${name}`)];
  return roots.flatMap((root) =>
    readdirSync(join(ROOT, root, 'src'), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => `${root}/src/${name}`),
  );
}

/** The places in a file where an error is created without suggestions, as `path:line: code`. */
function silent(path: string): readonly string[] {
  const file = ts.createSourceFile(path, readFileSync(join(ROOT, path), 'utf8'), ts.ScriptTarget.Latest, false);
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isNewExpression(node) && ERRORS.has(node.expression.getText(file))) {
      const [code, , details] = node.arguments ?? [];
      const given = details !== undefined && (!ts.isObjectLiteralExpression(details) || hasSuggestions(details, file));
      const name = code?.getText(file).replaceAll("'", '') ?? '';
      if (!given && !SAY_ALL.has(name)) {
        const { line } = file.getLineAndCharacterOfPosition(node.getStart(file));
        found.push(`${path}:${line + 1}: ${name}`);
      }
    }
    ts.forEachChild(node, visit);
  };
  visit(file);
  return found;
}

const hasSuggestions = (details: ts.ObjectLiteralExpression, file: ts.SourceFile): boolean =>
  details.properties.some(
    (property) => ts.isSpreadAssignment(property) || property.name?.getText(file) === 'suggestions',
  );

const s = suite('suggestions of errors');

s('each error says what to do, except those after which nothing is to be done', () => {
  const checked = sources().filter(
    (path) => !PASSED_ON.includes(path) && !BETWEEN_PROGRAMS.some((place) => place.test(path)),
  );
  assert.ok(checked.length > 100);
  assert.equal(checked.flatMap(silent), []);
});

s.run();
