import { isMet, type Goal, type Part, type Table } from './bench.js';
import type { Spread } from './statistics.js';

/** A number with a fixed number of decimals. */
export const number = (value: number, decimals: number): string => value.toFixed(decimals);

/** A ratio. */
export const factor = (value: number): string => number(value, 2);

/** `median [min–max]` */
export function range({ median, min, max }: Spread, show: (value: number) => string): string {
  return `${show(median)} [${show(min)}–${show(max)}]`;
}

/** One part of the report as Markdown. */
export function partToMarkdown({ name, method, tables, notMeasured, broken }: Part): string {
  return [
    `## ${name}`,
    ...(method ? [method] : []),
    ...tables.map(tableToMarkdown),
    ...notMeasured.map((what) => `- not measured: ${what}`),
    ...broken.map((what) => `- **BROKEN: ${what}**`),
  ].join('\n\n');
}

/** The goals and their results. */
export function goalsToMarkdown(goals: readonly Goal[]): string {
  if (goals.length === 0) return '## Goals\n\nnone measured';
  const table = tableToMarkdown({
    title: 'Wanted and measured',
    columns: ['goal', 'wanted', 'measured', ''],
    rows: goals.map((goal) => {
      const unit = goal.unit && ` ${goal.unit}`;
      const wanted = `${goal.bound} ${goal.wanted}${unit}`;
      const show = (value: number): string => number(value, unit ? 0 : 2);
      const measured = goal.spread ? range(goal.spread, show) : show(goal.got);
      return [goal.what, wanted, `${measured}${unit}`, isMet(goal) ? 'met' : '**missed**'];
    }),
  });
  const missed = goals.filter((goal) => !isMet(goal)).length;
  return `## Goals\n\n${table}\n\n${goals.length - missed} met, ${missed} missed`;
}

function tableToMarkdown({ title, columns, rows }: Table): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [`### ${title}`, '', line(columns), line(columns.map(() => '---')), ...rows.map(line)].join('\n');
}
