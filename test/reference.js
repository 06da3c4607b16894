/**
 * Writes the parts of the documentation that stand somewhere else already, so that they cannot differ from it:
 *
 *     npm run docs                            write them
 *     node test/reference.js --check          exit with 1 and say what differs; writes nothing
 *     node test/reference.js --snippets DIR   only the code blocks of the Markdown files below DIR
 *
 * A code block of README.md or docs/ after `<!-- from: path -->` is that file, after `<!-- from: path#name -->` its
 * lines between `// region name` and `// endregion` (or `#`, as comments are in that file), without their indentation.
 * docs/reference/errors.md is the code table of core, docs/reference/commands.md the output of `--help`, and core/api.txt
 * the public interface of core. Needs a build, as it reads all three.
 */
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { apiReport } from './api-report.js';
import { commandsPage } from './command-reference.js';
import { root } from './setup.js';

/** A marker and the code block right after it: path, region, fence with its language, old content. */
const BLOCK = /^<!-- from: ([^\s#]+)(?:#([\w-]+))? -->\n\n?(```+[\w-]*)\n([\s\S]*?)^```+$/gm;
const MARKER = /^<!-- from: /gm;

const EXIT_CODES = {
  2: 'the command line or a configuration is wrong',
  3: 'plugins',
  4: 'streams',
  5: 'proxies and runtimes',
  6: 'who may do what',
  7: 'connections between programs',
  70: 'a defect in SciStream',
};

/** gRPC status names by number (https://grpc.io/docs/guides/status-codes/). */
const GRPC = [
  'OK',
  'CANCELLED',
  'UNKNOWN',
  'INVALID_ARGUMENT',
  'DEADLINE_EXCEEDED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
  'UNAUTHENTICATED',
];

/** The text of docs/reference/errors.md. */
function errorsPage(codes) {
  const sections = Object.entries(codes).map(
    ([code, { exit, grpc, meaning }]) => `## ${code}\n\n${meaning}\n\nExit code ${exit}, gRPC status ${GRPC[grpc]}.\n`,
  );
  const exits = Object.entries(EXIT_CODES).map(([exit, area]) => `| ${exit} | ${area} |\n`);
  return [
    '<!-- Written by `npm run docs` from core/src/errors.ts. -->\n# Errors\n',
    'Every error has one of these codes. A code keeps its meaning; the text of a message may change. With `--json` an',
    'error is `{"error": {"code", "message", "suggestions", "ref"}}` on standard output. The exit code tells the area:\n',
    `| exit code | area |\n| --- | --- |\n${exits.join('')}`,
    sections.join('\n'),
  ].join('\n');
}

/** The lines of a region without the indentation they share. Throws an Error that names what is missing. */
function region(text, name, path) {
  const lines = text.split('\n');
  const first = lines.findIndex((line) => new RegExp(`^\\s*(//|#)\\s*region ${name}\\s*$`).test(line));
  const length = lines.slice(first + 1).findIndex((line) => /^\s*(\/\/|#)\s*endregion\b/.test(line));
  if (first < 0 || length < 0) throw new Error(`${path} has no complete region ${name}`);
  const inside = lines.slice(first + 1, first + 1 + length);
  const indents = inside.filter((line) => line.trim()).map((line) => line.search(/\S/));
  const common = Math.min(...indents, Infinity);
  return inside.map((line) => `${line.slice(Math.min(common, line.length))}\n`).join('');
}

/** The Markdown with every marked block as its source has it. Throws an Error for a source or block that is not there. */
function withSnippets(markdown, folder) {
  let blocks = 0;
  const filled = markdown.replace(BLOCK, (_all, path, name, fence) => {
    blocks += 1;
    const source = join(folder, path);
    if (!existsSync(source)) throw new Error(`${path} does not exist`);
    const text = readFileSync(source, 'utf8');
    const code = name === undefined ? text : region(text, name, path);
    const marker = `<!-- from: ${path}${name === undefined ? '' : `#${name}`} -->`;
    return `${marker}\n${fence}\n${code}${code.endsWith('\n') ? '' : '\n'}${/^`+/.exec(fence)?.[0]}`;
  });
  if (blocks !== (markdown.match(MARKER) ?? []).length) throw new Error('a "from:" marker has no code block after it');
  return filled;
}

function markdownFiles(folder) {
  const docs = join(folder, 'docs');
  const below = existsSync(docs) ? readdirSync(docs, { recursive: true }).map((name) => join(docs, name)) : [];
  return [join(folder, 'README.md'), ...below].filter((path) => path.endsWith('.md') && existsSync(path)).sort();
}

/** Every file that is written here, with the content it should have: path → text. */
async function wanted(snippets) {
  const folder = snippets ?? root;
  const pages = new Map();
  if (snippets === undefined) {
    const { ERROR_CODES } = await import('@scistream/core');
    pages.set(join(root, 'docs/reference/errors.md'), errorsPage(ERROR_CODES));
    pages.set(join(root, 'docs/reference/commands.md'), await commandsPage());
    pages.set(join(root, 'core/api.txt'), apiReport());
  }
  for (const path of markdownFiles(folder)) {
    if (pages.has(path)) continue;
    try {
      pages.set(path, withSnippets(readFileSync(path, 'utf8'), folder));
    } catch (error) {
      throw new Error(`${relative(folder, path)}: ${error.message}`, { cause: error });
    }
  }
  return pages;
}

const { values } = parseArgs({ options: { check: { type: 'boolean', default: false }, snippets: { type: 'string' } } });
try {
  for (const [path, text] of await wanted(values.snippets)) {
    if (existsSync(path) && readFileSync(path, 'utf8') === text) continue;
    const name = relative(values.snippets ?? root, path);
    process.stderr.write(`${name} ${values.check ? 'differs from its source: run `npm run docs`' : 'written'}\n`);
    if (values.check) {
      process.exitCode = 1;
    } else {
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, text);
    }
  }
} catch (error) {
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}
