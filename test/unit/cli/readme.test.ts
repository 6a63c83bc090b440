import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { OPTIONS, type Option } from '../../../src/cli/options/option-table.ts'
import { EXIT_CODES, SIGNAL_EXIT_CODES } from '../../../src/cli/shared/exit-code.ts'

const [, SECTION = ''] = /^## The command$(.*?)^## /ms.exec(readFileSync('README.md', 'utf8')) ?? []

/** The cells of the table whose header begins with a word. */
function table(first: string): string[][] {
  const lines = SECTION.split('\n')
  const header = lines.findIndex((line) => line.startsWith(`| ${first} `))
  const rows = lines.slice(header + 2)
  const end = rows.findIndex((line) => !line.startsWith('|'))
  return rows.slice(0, end).map((row) =>
    row
      .split(/(?<!\\)\|/)
      .slice(1, -1)
      .map((cell) => cell.trim()),
  )
}

function rowOf({ key, flag, letter, kind, value, environment, otherwise, summary }: Option): string[] {
  const short = letter === undefined ? '' : `-${letter}, `
  const name = kind === 'boolean' ? `--[no-]${flag}` : `${short}--${flag} ${value}`
  const written = key === 'app' ? 'the argument' : `\`${name.replaceAll('|', '\\|')}\``
  return [written, `\`${environment}\``, key === 'config' ? '' : `\`${key}\``, otherwise, summary]
}

it("The README's table of options is the table that the command works with", () => {
  expect(table('flag')).toEqual(OPTIONS.map(rowOf))
})

it('The README has every exit code', () => {
  expect(table('exit code')).toEqual([
    ...Object.values(EXIT_CODES).map(([code, meaning]) => [String(code), meaning]),
    [Object.values(SIGNAL_EXIT_CODES).join(', '), 'ended at once by a second SIGINT or SIGTERM'],
  ])
})
