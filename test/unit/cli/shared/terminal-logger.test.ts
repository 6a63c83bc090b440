import { expect, it } from 'vitest'
import { terminalLogger } from '../../../../src/cli/shared/loggers.ts'

/** What is written of a line to a stream like this. */
function written(isTTY: boolean, colours: boolean): string {
  let text = ''
  const write = (piece: string) => {
    text += piece
    return true
  }
  terminalLogger({ isTTY, hasColors: () => colours, write, on: () => {}, writableLength: 0 }).error?.('wrong')
  return text
}

it('has colours on a terminal that has them, and nowhere else', () => {
  expect(written(true, true)).toBe('\x1b[31mwrong\x1b[39m\n')
  expect(written(true, false)).toBe('wrong\n')
  expect(written(false, true)).toBe('wrong\n')
})

/** A stream whose reader is told what to do. */
class SlowOutput {
  readonly isTTY = false
  readonly lines: string[] = []
  writableLength = 0
  broken = false

  hasColors(): boolean {
    return false
  }

  on(): void {}

  write(text: string, written: (error?: Error | null) => void): boolean {
    if (this.broken) written(new Error('EPIPE'))
    else {
      this.lines.push(text)
      written(null)
    }
    return true
  }
}

it('drops lines that cannot be written, and says how many with the next one', () => {
  const output = new SlowOutput()
  const logger = terminalLogger(output)
  output.broken = true
  for (const line of ['lost', 'lost, too']) logger.error?.(line)
  output.broken = false
  output.writableLength = 2 * 1024 * 1024
  logger.warn?.('nobody reads this')
  output.writableLength = 0
  logger.info?.('one')
  logger.info?.('two')
  expect(output.lines).toEqual(['one (3 lines before this one are missing)\n', 'two\n'])
})
