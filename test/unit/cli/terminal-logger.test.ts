import { expect, it } from 'vitest'
import { terminalLogger } from '../../../src/cli/terminal-logger.ts'

/** What is written of a line to a stream like this. */
function written(isTTY: boolean, colours: boolean): string {
  let text = ''
  const write = (piece: string) => {
    text += piece
    return true
  }
  terminalLogger({ isTTY, hasColors: () => colours, write }).error?.('wrong')
  return text
}

it('has colours on a terminal that has them, and nowhere else', () => {
  expect(written(true, true)).toBe('\x1b[31mwrong\x1b[39m\n')
  expect(written(true, false)).toBe('wrong\n')
  expect(written(false, true)).toBe('wrong\n')
})
