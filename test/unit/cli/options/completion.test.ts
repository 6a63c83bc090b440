import { spawnSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { commandLine } from '../../../../src/cli/command.ts'
import { OPTIONS } from '../../../../src/cli/options/command-options.ts'
import { COMPLETION_SHELLS, completionScript } from '../../../../src/cli/options/completion.ts'

const PROGRAM = commandLine(() => {})

/** What bash offers for the last of the words. */
function completeInBash(...words: string[]): string[] {
  return completedInBash(['mongrel2-fetch', ...words], '_mongrel2_fetch')
}

function completedInBash(words: readonly string[], complete: string, before = ''): string[] {
  const script = `${completionScript('bash', PROGRAM)}
${before}
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
${complete} "$1" "\${COMP_WORDS[COMP_CWORD]}" "\${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\\n' "\${COMPREPLY[@]}"`
  const { stdout, stderr } = spawnSync('bash', ['-c', script, 'bash', ...words], { encoding: 'utf8' })
  expect(stderr).toBe('')
  return stdout.split('\n').filter((line) => line !== '')
}

describe('Completion in bash', () => {
  it.each([
    [['se'], ['serve']],
    [
      [''],
      [
        'serve',
        'dev',
        'fetch',
        'replay',
        'status',
        'doctor',
        'init',
        'keygen',
        'mongrel2',
        'complete',
        '--help',
        '--version',
      ],
    ],
    [
      ['complete', ''],
      ['bash', 'zsh', 'fish'],
    ],
    [['mongrel2', 'te'], ['terminate']],
    [['init', '--template', 'i'], ['itty']],
    [['serve', '--max-in'], ['--max-in-flight']],
    [['serve', 'app.ts', '--no-over'], ['--no-override-global-objects']],
    [
      ['serve', '--work'],
      ['--workers', '--worker-timeout'],
    ],
    [['serve', '-p', '-'], []],
    [
      ['fetch', 'app.ts', '--'],
      expect.arrayContaining(['--method', '--header', '--data', '--include', '--config', '--help']),
    ],
    [
      ['replay', '--ch'],
      ['--check', '--chroot'],
    ],
    [['replay', '--ig'], ['--ignore']],
    [['fetch', '-d', '-'], []],
    [
      ['mongrel2', '--ad'],
      ['--admin', '--admin-token-file'],
    ],
    [['keygen', '--'], ['--help']],
    [['dev', '--work'], []],
    [['serve', '--po'], []],
    [['dev', '--po'], ['--port']],
    [
      ['status', '--ad'],
      ['--admin', '--admin-token-file'],
    ],
    [['serve', '--log-level', 'd'], ['debug']],
    // Nothing of ours: file names.
    [['serve', 'ap'], []],
    [['serve', '--chroot', '-'], []],
  ])('of %j offers %j', (words, offered) => {
    expect(completeInBash(...words)).toEqual(offered)
  })
})

describe('Completion in bash of what npx and npm run', () => {
  const BEFORE = '_npm_completion() { COMPREPLY=(exec); }'

  it.each([
    [['npx', 'mongrel2-fetch', 'se'], ['serve']],
    [['npx', '--yes', 'mongrel2-fetch', 'dev', '--po'], ['--port']],
    [['npm', 'exec', 'mongrel2-fetch', 'serve', '--log-level', 'd'], ['debug']],
    [['npm', 'exec', '--', 'mongrel2-fetch', 'se'], ['serve']],
    [['npx', 'mongrel2-f'], []],
    [['npx', 'other', 'se'], []],
    [['npm', 'ex'], ['exec']],
  ])('of %j offers %j', (words, offered) => {
    expect(completedInBash(words, '_mongrel2_fetch_of_npm', BEFORE)).toEqual(offered)
  })
})

describe('Completion', () => {
  it.each(COMPLETION_SHELLS)('in %s knows every flag', (shell) => {
    const script = completionScript(shell, PROGRAM)
    for (const name of PROGRAM.commands.flatMap(({ options }) => options.map(({ long }) => long?.slice(2) ?? '')))
      if (name !== 'help') expect(script).toContain(name)
    for (const { key, flag, help, placeholder } of OPTIONS) {
      if (key === 'app' || help === undefined) continue
      for (const name of placeholder === '' ? [flag, `no-${flag}`] : [flag]) expect(script).toContain(name)
    }
  })

  it.each(['zsh', 'fish'])('in %s has an apostrophe in a text quoted', (shell) => {
    expect(completionScript(shell, PROGRAM)).toContain("module'\\''s export")
  })
})
