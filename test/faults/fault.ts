/** Options of a run of the fault suite. */
export interface Scale {
  /** All faults with full numbers; otherwise the short selection, with small numbers. */
  readonly full: boolean;
  /** Reports progress. */
  readonly say: (text: string) => void;
}

/** One fault, what SciStream promises in that case, and how to check it. */
export interface Fault {
  /** Short and unique: one cell of the table. */
  readonly fault: string;
  readonly promised: string;
  /** Whether it belongs to the short selection. */
  readonly short: boolean;
  /** As in the `needs:` comment of a test. */
  readonly needs: readonly string[];
  /**
   * Injects the fault with real processes and real traffic.
   * @returns What was seen, in numbers. @throws If the promise was not kept.
   */
  readonly run: (scale: Scale) => Promise<string>;
}

/** The result of one fault. */
export interface Result {
  readonly fault: string;
  readonly promised: string;
  readonly seen: string;
  readonly verdict: 'kept' | 'not kept' | 'not run';
}

const cell = (text: string): string => text.replaceAll('|', '\\|').replace(/\s+/g, ' ').trim();

const HEAD = ['| fault | promised | seen |', '| --- | --- | --- |'];

/** The results as a Markdown table with one line each. */
export function toTable(results: readonly Result[]): string {
  const rows = results.map(({ fault, promised, seen, verdict }) => {
    const outcome = verdict === 'kept' ? seen : `**${verdict}**: ${seen}`;
    return `| ${[fault, promised, outcome].map(cell).join(' | ')} |`;
  });
  return [...HEAD, ...rows, ''].join('\n');
}

/** The lines of a table made by {@link toTable}, by fault. */
export function rowsIn(markdown: string): ReadonlyMap<string, string> {
  const lines = markdown.split('\n').filter((line) => line.startsWith('| ') && !HEAD.includes(line));
  return new Map(lines.map((line) => [line.split(' | ')[0]?.slice(2) ?? '', line]));
}
