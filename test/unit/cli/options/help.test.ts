import { afterEach, describe, expect, it, vi } from 'vitest'
import { commandLine } from '../../../../src/cli/command.ts'
import { ENDINGS, EXIT_CODES } from '../../../../src/cli/shared/exit-code.ts'

afterEach(() => {
  vi.restoreAllMocks()
})

/** What is printed. */
async function help(...args: string[]): Promise<string> {
  let printed = ''
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    printed += text
    return true
  })
  await expect(commandLine(() => {}).parseAsync(args, { from: 'user' })).rejects.toMatchObject({ exitCode: 0 })
  return printed
}

const flagsIn = (text: string) => text.match(/^ {2}(?:-\w, )?--[\w-]+/gm) ?? []

describe('--help', () => {
  it('shows the first options of serve in groups, an example, and how to see the rest', async () => {
    const text = await help('serve', '--help')
    expect(flagsIn(text)).toHaveLength(13)
    for (const heading of ['Where to serve:', 'Workers:', 'Operations:']) expect(text).toContain(`\n${heading}\n`)
    expect(text).toContain('Example:\n  mongrel2-fetch serve app.ts --zeromq')
    expect(text).toMatch(/`mongrel2-fetch serve --help all` shows \d+ more options/)
    expect(text).not.toContain('--max-in-flight <N>')
  })

  it('shows all of them with all', async () => {
    const text = await help('serve', '--help', 'all')
    expect(flagsIn(text).length).toBeGreaterThan(60)
    expect(text).toContain('--max-in-flight <N>')
    expect(text).not.toContain('more options')
  })

  it('has no default at a flag that turns the default off', async () => {
    const text = (await help('serve', '--help', 'all')).replace(/\s+/g, ' ')
    expect(text).toMatch(/--no-override-global-objects Do not replace [\w ,]+ by quick ones\. (?!\(default)/)
  })

  it.each([
    ['dev', '--port'],
    ['fetch', '--data'],
    ['replay', '--check'],
    ['status', '--watch'],
    ['doctor', '--mongrel2'],
    ['keygen', 'mongrel2-fetch keygen'],
    ['mongrel2', '--control'],
    ['complete', 'complete bash'],
  ])('of %s has an example, and %s', async (name, what) => {
    const text = await help(name, '-h')
    expect(text).toContain(`Example:\n  mongrel2-fetch ${name} `)
    expect(text).toContain(what)
  })

  it.each(Object.entries(ENDINGS))('of %s has its exit codes', async (name, endings) => {
    const text = (await help(name, '--help')).replace(/\s+/g, ' ')
    const lines = Object.entries(EXIT_CODES).flatMap(([ending, [code]]) => {
      const meaning = endings[ending as keyof typeof EXIT_CODES]
      return meaning === undefined ? [] : [`${code} ${meaning}`]
    })
    expect(text).toContain(`Exit codes: ${lines.join(' ')}`)
    expect(text.includes('130, 143 ended at once')).toBe('front' in endings)
  })

  it('without a subcommand has all exit codes', async () => {
    const text = await help('--help')
    for (const [code] of Object.values(EXIT_CODES)) expect(text).toMatch(new RegExp(`^  ${code} +\\w`, 'm'))
  })
})
