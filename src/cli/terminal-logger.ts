import { styleText } from 'node:util'
import type { Logger } from '../log.ts'

/** What is used of a stream: `hasColors` is there on terminals, and knows NO_COLOR. */
interface Output {
  readonly isTTY: boolean
  hasColors(): boolean
  write(text: string, written: (error?: Error | null) => void): boolean
  on(event: 'error', listener: () => void): unknown
  /** Bytes that wait to be written. */
  readonly writableLength: number
}

/** Bytes that may wait for whoever reads the stream. */
const MOST_WAITING = 1024 * 1024

/**
 * Writes lines to stderr, with colours where that is a terminal that has them.
 *
 * Nothing ever waits for its reader: a line that cannot be written is dropped, and the next one that can says how many were.
 */
export function terminalLogger(stream: Output = process.stderr): Logger {
  const coloured = stream.isTTY && stream.hasColors()
  let missing = 0
  // Each failed write is told to its callback, too.
  stream.on('error', () => {})
  const write = (style: Parameters<typeof styleText>[0]) => (line: string) => {
    if (stream.writableLength > MOST_WAITING) {
      missing++
      return
    }
    const before = missing
    missing = 0
    const text = before > 0 ? `${line} (${before} lines before this one are missing)` : line
    stream.write(`${coloured ? styleText(style, text, { validateStream: false }) : text}\n`, (error) => {
      if (error) missing += before + 1
    })
  }
  return { debug: write('dim'), info: write('reset'), warn: write('yellow'), error: write('red') }
}
