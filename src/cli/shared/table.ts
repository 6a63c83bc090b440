/** Makes a table of records for a terminal, with their keys as its head; numbers are aligned to the right. */
export function tableText(records: readonly object[], keys: readonly string[]): string {
  const cells = records.map((record) => keys.map((key) => (record as Record<string, unknown>)[key] ?? '-'))
  const rows = [keys, ...cells].map((row) => row.map(String))
  const widths = keys.map((_, at) => Math.max(...rows.map((row) => row[at]?.length ?? 0)))
  const isNumber = (at: number) => cells.some((row) => typeof row[at] === 'number')
  const lines = rows.map((row) =>
    row.map((cell, at) => (isNumber(at) ? cell.padStart(widths[at] ?? 0) : cell.padEnd(widths[at] ?? 0))).join('  '),
  )
  return lines.map((line) => line.trimEnd()).join('\n')
}
