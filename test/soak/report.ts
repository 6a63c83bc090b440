import type { Measures } from './server-process.ts'
import type { Tally } from './tally.ts'

/** What a run came to. */
export interface Outcome {
  readonly tally: Tally
  readonly minutes: number
  readonly start: Measures
  readonly end: Measures
  readonly filesLeft: number
}

/** Whether nothing went wrong and nothing was left over. */
export function holds({ tally, end, filesLeft }: Outcome): boolean {
  const { lost, wrong, hung } = tally
  return [lost, wrong, hung, end.running, end.statistics.connections, filesLeft].every((count) => count === 0)
}

/** The rows of the table. */
export function rowsOf({ tally, minutes, start, end, filesLeft }: Outcome): [name: string, value: string][] {
  const faults = [...tally.faults].sort(([a], [b]) => a.localeCompare(b))
  return [
    ['minutes', String(minutes)],
    ['requests', count(tally.requests)],
    ['answered in full, every byte right', count(tally.right)],
    ['without an answer since their client left', count(tally.abandoned)],
    ['cut by the end of a Mongrel2', count(tally.cut)],
    ['body bytes in', mebibytes(tally.bytesIn)],
    ['body bytes out', mebibytes(tally.bytesOut)],
    ['slow readers', count(tally.slowReaders)],
    ...faults.map(([fault, times]): [string, string] => [`fault: ${fault}`, count(times)]),
    ['lost', count(tally.lost)],
    ['wrong', count(tally.wrong)],
    ['hung', count(tally.hung)],
    ['RSS after the warm-up', mebibytes(start.rss)],
    ['RSS at the end', mebibytes(end.rss)],
    ['open connections at the end', count(end.statistics.connections)],
    ['handlers and bodies left running', count(end.running)],
    ['files of uploads left', count(filesLeft)],
  ]
}

export function renderTable(rows: [name: string, value: string][], markdown: boolean): string {
  const widths = [0, 1].map((column) => Math.max(...rows.map((row) => row[column as 0 | 1].length)))
  const [left = 0, right = 0] = widths
  const lines = rows.map(([name, value]) => {
    const cells = [name.padEnd(left), value.padStart(right)]
    return markdown ? `| ${cells.join(' | ')} |` : cells.join('  ')
  })
  if (markdown)
    lines.unshift(
      `| ${' '.repeat(left)} | ${' '.repeat(right)} |`,
      `| ${'-'.repeat(left)} | ${'-'.repeat(right - 1)}: |`,
    )
  return lines.join('\n')
}

function count(value: number): string {
  return value.toLocaleString('en')
}

function mebibytes(bytes: number): string {
  return `${count(Math.round(bytes / 1024 / 1024))} MiB`
}
