import type { WriteStream } from 'node:tty'
import { styleText } from 'node:util'
import type { Logger } from '../log.ts'

/** Writes lines to stderr, with colours where it is a terminal that has them and NO_COLOR is not set. */
export function terminalLogger(stream: WriteStream = process.stderr): Logger {
  const coloured = stream.isTTY && stream.hasColors()
  const write = (style: Parameters<typeof styleText>[0]) => (line: string) => {
    stream.write(`${coloured ? styleText(style, line) : line}\n`)
  }
  return { debug: write('dim'), info: write('reset'), warn: write('yellow'), error: write('red') }
}
