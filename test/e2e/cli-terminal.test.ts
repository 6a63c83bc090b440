// The command on a pseudo-terminal: what people see and type.

import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { AppProject } from '../support/app-project.ts'
import { MAIN } from '../support/command.ts'
import { startMongrel2 } from '../support/mongrel2.ts'
import { Terminal } from '../support/terminal.ts'

let place: AppProject

beforeEach(() => {
  place = new AppProject('module')
})

afterEach(async () => {
  await place[Symbol.asyncDispose]()
})

function command(args: readonly string[], columns = 160): Terminal {
  const env = { TMPDIR: place.directory }
  return new Terminal([process.execPath, MAIN, ...args], { cwd: place.directory, env, columns })
}

describe('Help', () => {
  it('is as wide as the terminal', async () => {
    const columns = 110
    await using terminal = command(['serve', '--help', 'all'], columns)
    expect(await terminal.ended).toBe(0)
    // An example is one line, to be copied.
    const lines = terminal.written.split('\r\n').filter((line) => !line.startsWith('  mongrel2-fetch '))
    const widest = Math.max(...lines.map((line) => line.length))
    expect(widest).toBeLessThanOrEqual(columns)
    expect(widest).toBeGreaterThan(columns - 15)
    await terminal.shows(/^Exit codes:\n {2}0 +\w/m)
  })
})

describe('An error', () => {
  it.each([
    [
      ['serve', 'app.ts'],
      2,
      /^mongrel2-fetch: expected --zeromq SEND_SPEC,RECV_SPEC, .*`mongrel2-fetch dev` needs none of them$/m,
    ],
    [['srve'], 2, /^mongrel2-fetch: expected one of .*, got "srve"; did you mean serve\?$/m],
    [['fetch', 'none.ts'], 3, /^mongrel2-fetch: there is no file \S+none\.ts$/m],
  ])('of %j is one sentence', async (args, code, line) => {
    await using terminal = command(args, 300)
    expect(await terminal.ended).toBe(code)
    await terminal.shows(line)
    expect(terminal.lines).toHaveLength(1)
  })
})

describe('dev', () => {
  it('shows errors in short and in red, reloads, and ends by Ctrl-C', async () => {
    const works = "export default () => new Response('works')\n"
    place.write('app.ts', "export default () => {\n  throw new RangeError('too far')\n}\n")
    await using terminal = command(['dev', 'app.ts', '--port', '0'])
    const [, url = ''] = await terminal.shows(/^mongrel2-fetch serves app\.ts at (http\S+) through Mongrel2$/m)
    const asked = fetch(`${url}a`)
    await terminal.shows(
      /^mongrel2-fetch: GET \S+\/a: RangeError: too far\n {4}at app\.ts:2:9\n(?:.*\n)* {4}> 2 \| +throw new RangeError/m,
    )
    await (await asked).text()
    expect(terminal.written).toContain('\x1b[31mmongrel2-fetch: GET ')

    const before = terminal.lines.length
    place.write('app.ts', 'export default (\n')
    await terminal.shows(/^mongrel2-fetch: app\.ts could not be loaded: .*SyntaxError.*\n {4}at app\.ts:\d+/m)
    place.write('app.ts', works)
    await terminal.shows(/^mongrel2-fetch reloaded in \d+ ms: app\.ts changed$/m)
    expect(
      terminal.lines.slice(before).filter((line) => /^mongrel2-fetch (?:serves|reloaded)/.test(line)),
    ).toHaveLength(1)
    expect(await (await fetch(url)).text()).toBe('works')
    // The time is for files.
    expect(terminal.lines.join('\n')).not.toMatch(/^\d{4}-\d\d-\d\dT/m)

    terminal.type('\x03')
    expect(await terminal.ended).toBe(0)
    expect(terminal.lines.at(-1)).toMatch(/^\^C|reloaded in/)
  })
})

describe('status --watch', () => {
  it('shows the state in the place of the one before, until Ctrl-C', async () => {
    await using mongrel2 = await startMongrel2()
    place.write('app.ts', "export default () => new Response('works')\n")
    const serving = place.run(['serve', 'app.ts', '--zeromq', mongrel2.endpoint, '--admin', './admin.sock'])
    await serving.prints(/^mongrel2-fetch serves/m)
    await using terminal = command(['status', '--admin', './admin.sock', '--watch'])
    await terminal.shows(/^ready\nprocess +\d+/m)
    await fetch(`http://127.0.0.1:${mongrel2.port}/`)
    await terminal.shows(/^requests +1,/m)
    expect(terminal.lines.filter((line) => line === 'ready')).toHaveLength(1)
    expect(terminal.lines[0]).toBe('ready')
    serving.signal('SIGTERM')
    await terminal.shows(/does not answer/)
    expect(terminal.lines).not.toContain('ready')
    terminal.type('\x03')
    expect(await terminal.ended).toBe(0)
  })
})

describe('Completion', () => {
  const SHELLS: Readonly<Record<string, { readonly start: readonly string[]; readonly prepare: string }>> = {
    bash: { start: ['bash', '--norc', '--noprofile', '-i'], prepare: "PS1='$ '; . ./complete" },
    zsh: { start: ['zsh', '-f', '-i'], prepare: "PS1='$ '; autoload -Uz compinit; compinit -u -D; . ./complete" },
    fish: {
      start: ['fish', '--no-config', '--interactive'],
      prepare: "function fish_prompt; echo '$ '; end; . ./complete",
    },
  }

  /** The prompt at the end, with nothing behind it. */
  const EMPTY_LINE = /^\$ *(?![\s\S])/m
  const LINES = {
    'mongrel2-fetch ser': 'mongrel2-fetch serve',
    'mongrel2-fetch fetch app.ts --incl': 'mongrel2-fetch fetch app.ts --include',
    'mongrel2-fetch replay --igno': 'mongrel2-fetch replay --ignore',
    'mongrel2-fetch init --template it': 'mongrel2-fetch init --template itty',
    'mongrel2-fetch serve --log-level sil': 'mongrel2-fetch serve --log-level silent',
    'mongrel2-fetch mongrel2 term': 'mongrel2-fetch mongrel2 terminate',
    'npx mongrel2-fetch ser': 'npx mongrel2-fetch serve',
  }

  for (const [shell, { start, prepare }] of Object.entries(SHELLS)) {
    it.skipIf(spawnSync(shell, ['--version']).error !== undefined)(`in ${shell} is that of the Tab key`, async () => {
      const script = place.run(['complete', shell])
      expect(await script.ended).toBe(0)
      writeFileSync(join(place.directory, 'complete'), script.stdout)
      const env = { HOME: place.directory, XDG_CONFIG_HOME: place.directory, XDG_DATA_HOME: place.directory }
      await using terminal = new Terminal(start, { cwd: place.directory, env })
      await terminal.shows(/\S/)
      terminal.type(`${prepare}; echo rea''dy\r`)
      await terminal.shows(/^ready$/m)
      await terminal.shows(EMPTY_LINE)
      for (const [typed, completed] of Object.entries(LINES)) {
        terminal.type(`${typed}\t`)
        await terminal.shows(new RegExp(`^\\$ ${completed}`, 'm'))
        // Ctrl-U removes the line.
        terminal.type('\x15')
        await terminal.shows(EMPTY_LINE)
      }
      // It writes its history at its end.
      terminal.type('exit\r')
      await terminal.ended
    })
  }
})
