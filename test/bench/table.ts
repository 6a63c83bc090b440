/** A table's rows, the titles first. */
export type Rows = readonly (readonly string[])[]

/** Renders a table for a terminal: columns by spaces, the first to the left, numbers to the right. */
export function renderText(rows: Rows): string {
  const widths = widthsOf(rows)
  return rows.map((row) => pad(row, widths).join('  ').trimEnd()).join('\n')
}

/** Renders a table in Markdown. */
export function renderMarkdown(rows: Rows): string {
  const widths = widthsOf(rows)
  const [titles = [], ...rest] = rows.map((row) => `| ${pad(row, widths).join(' | ')} |`)
  const rule = `| ${widths.map((width, n) => (n === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`)).join(' | ')} |`
  return [titles, rule, ...rest].join('\n')
}

function widthsOf(rows: Rows): number[] {
  const columns = Math.max(...rows.map((row) => row.length))
  return Array.from({ length: columns }, (_, column) => Math.max(3, ...rows.map((row) => row[column]?.length ?? 0)))
}

function pad(row: readonly string[], widths: readonly number[]): string[] {
  return widths.map((width, n) => (n === 0 ? (row[n] ?? '').padEnd(width) : (row[n] ?? '').padStart(width)))
}
