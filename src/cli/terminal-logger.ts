import { styleText } from 'node:util'
import type { Logger } from '../log.ts'

/** What is used of a stream: `hasColors` is there on terminals, and knows NO_COLOR. */
interface Output {
  readonly isTTY: boolean
  hasColors(): boolean
  write(text: string): boolean
}

/** Writes lines to stderr, with colours where that is a terminal that has them. */
export function terminalLogger(stream: Output = process.stderr): Logger {
  const coloured = stream.isTTY && stream.hasColors()
  const write = (style: Parameters<typeof styleText>[0]) => (line: string) => {
    stream.write(`${coloured ? styleText(style, line, { validateStream: false }) : line}\n`)
  }
  return { debug: write('dim'), info: write('reset'), warn: write('yellow'), error: write('red') }
}
