/** Prints the results of the contract kit (core/src/testing/report.ts) as one table: proxies × runtimes. */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

/** Name of the folder in the home of a run to which SCISTREAM_CONTRACT_REPORT points. */
export const REPORT_FOLDER = 'contract';

/**
 * Reads the results of all runs.
 * @param {string} homes  folder with one folder per run
 * @returns {{ proxy: string, runtime: string, case: string, ok?: boolean, reason?: string }[]}  without `ok`: not tried
 */
export function readResults(homes) {
  const folders = readdirSync(homes).map((home) => join(homes, home, REPORT_FOLDER));
  const files = folders.filter(existsSync).flatMap((folder) => readdirSync(folder).map((name) => join(folder, name)));
  return files.flatMap((file) =>
    readFileSync(file, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line)),
  );
}

/**
 * A Markdown table with `passed/total` in each cell and `–` where nothing ran, followed by the failed cases. Pairs of
 * proxies (`client → server`) have their own table. Reasons for reduced requirements follow the tables, too.
 * @param {ReturnType<typeof readResults>} results
 * @returns {string[]} lines; none without results
 */
export function contractTable(results) {
  const isPair = ({ proxy }) => proxy.includes(' → ');
  const parts = [results.filter((result) => !isPair(result)), results.filter(isPair)].filter((part) => part.length > 0);
  return parts.flatMap((part) => ['', ...tableOf(part)]).concat(reasonsOf(results), failuresOf(results));
}

function tableOf(results) {
  const runtimes = [...new Set(results.map(({ runtime }) => runtime))].sort();
  const proxies = [...new Set(results.map(({ proxy }) => proxy))].sort();
  const cell = (proxy, runtime) => {
    const mine = results.filter((it) => it.proxy === proxy && it.runtime === runtime && it.ok !== undefined);
    return mine.length === 0 ? '–' : `${mine.filter(({ ok }) => ok).length}/${mine.length}`;
  };
  const row = (cells) => `| ${cells.join(' | ')} |`;
  return [
    row(['contract', ...runtimes]),
    row(['---', ...runtimes.map(() => '---')]),
    ...proxies.map((proxy) => row([proxy, ...runtimes.map((runtime) => cell(proxy, runtime))])),
  ];
}

/** Cases with reduced requirements, grouped by case and reason. */
function reasonsOf(results) {
  const groups = new Map();
  for (const { proxy, runtime, case: title, ok, reason } of results) {
    if (reason === undefined) continue;
    const head = `${title}: ${ok === undefined ? 'not tried' : 'within limits'}, ${reason}`;
    groups.set(head, [...(groups.get(head) ?? []), `${proxy} on ${runtime}`]);
  }
  const lines = [...groups].map(([head, cells]) => `- ${head} (${cells.join(', ')})`);
  return lines.length === 0 ? [] : ['', ...lines.sort()];
}

function failuresOf(results) {
  const failed = results
    .filter(({ ok }) => ok === false)
    .map((it) => `- failed: ${it.proxy} on ${it.runtime}: ${it.case}`);
  return failed.length === 0 ? [] : ['', ...failed];
}
