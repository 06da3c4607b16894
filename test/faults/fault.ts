/** What a run of the fault suite may be asked to do. */
export interface Scale {
  /** Everything; otherwise the selection that every change has to pass, with small numbers. */
  readonly full: boolean;
  /** Tells the progress. */
  readonly say: (text: string) => void;
}

/** One fault, what SciStream promises in it, and how to see whether it keeps that. */
export interface Fault {
  /** Short, and the only one of this name: one cell of a table. */
  readonly fault: string;
  readonly promised: string;
  /** Whether it is part of the short selection. */
  readonly short: boolean;
  /** As in a `needs:` comment of a test. */
  readonly needs: readonly string[];
  /**
   * Makes the fault with real processes and real traffic.
   * @returns What was seen, in numbers. @throws what was seen instead of what is promised
   */
  readonly run: (scale: Scale) => Promise<string>;
}

/** What came of one fault. */
export interface Result {
  readonly fault: string;
  readonly promised: string;
  readonly seen: string;
  readonly verdict: 'kept' | 'not kept' | 'not run';
}

const cell = (text: string): string => text.replaceAll('|', '\\|').replace(/\s+/g, ' ').trim();

const HEAD = ['| fault | promised | seen |', '| --- | --- | --- |'];

/** The results as a Markdown table, one line each. */
export function toTable(results: readonly Result[]): string {
  const rows = results.map(({ fault, promised, seen, verdict }) => {
    const outcome = verdict === 'kept' ? seen : `**${verdict}**: ${seen}`;
    return `| ${[fault, promised, outcome].map(cell).join(' | ')} |`;
  });
  return [...HEAD, ...rows, ''].join('\n');
}

/** The lines of a table that {@link toTable} made, by the names of the faults. */
export function rowsIn(markdown: string): ReadonlyMap<string, string> {
  const lines = markdown.split('\n').filter((line) => line.startsWith('| ') && !HEAD.includes(line));
  return new Map(lines.map((line) => [line.split(' | ')[0]?.slice(2) ?? '', line]));
}
