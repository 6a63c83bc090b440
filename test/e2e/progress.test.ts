// How far long work is, on a pseudo-terminal and without one.

import { chmodSync, cpSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { CommandRun } from '../support/command.ts'
import { Terminal } from '../support/terminal.ts'

let directory: string

beforeEach(() => {
  directory = realpathSync(mkdtempSync(join(tmpdir(), 'progress-test-')))
})

afterEach(() => {
  rmSync(directory, { recursive: true, force: true })
})

/** Does what is typed: `0.5 half` shows a part, `print TEXT` prints, `open TEXT` without a line break; anything else ends it. */
const PROGRAM = `
import { createInterface } from 'node:readline'
import { showProgress } from ${JSON.stringify(resolve('examples/progress.mjs'))}
const progress = showProgress('Counting')
createInterface({ input: process.stdin }).on('line', (line) => {
  const [word, ...rest] = line.split(' ')
  const text = rest.join(' ')
  if (word === 'print') console.log(text)
  else if (word === 'open') process.stdout.write(text)
  else if (word === 'end') progress.end()
  else if (word === 'exit') process.exit()
  else progress.at(Number(word), text)
})`

async function counting(env: Record<string, string> = {}): Promise<Terminal> {
  writeFileSync(join(directory, 'count.mjs'), PROGRAM)
  const terminal = new Terminal(['sh', '-c', 'stty -echo; exec "$0" "$@"', process.execPath, 'count.mjs'], {
    cwd: directory,
    env,
    columns: 70,
  })
  await terminal.shows(/^Counting/m)
  return terminal
}

const LINE = /^Counting \[#{10}-{10}\] 50 %, \d+ s left, ends \d\d:\d\d: half$/m

describe('On a terminal', () => {
  it('it is one line, which moves', async () => {
    await using terminal = await counting()
    await terminal.shows(/^Counting, 1 s so far$/m)
    // Nothing is typed meanwhile.
    await terminal.shows(/^Counting, 2 s so far$/m)
    terminal.type('0.5 half\n')
    await terminal.shows(LINE)
    expect(terminal.lines).toHaveLength(1)
    terminal.type('0.25 quarter\n')
    await terminal.shows(/^Counting \[#{5}-{15}\] 25 %, \d+ s left, ends \d\d:\d\d: quarter$/m)
    expect(terminal.lines).toHaveLength(1)
  })

  it('it stays below what is printed, and leaves nothing when it ends', async () => {
    await using terminal = await counting()
    terminal.type('0.5 half\nprint one\nprint two\n')
    await terminal.shows(/two\nCounting .*: half$/)
    terminal.type('open three,\nprint  four\n')
    await terminal.shows(/^three, four\nCounting .*: half$/m)
    terminal.type('end\nprint five\nexit\n')
    expect(await terminal.ended).toBe(0)
    expect(terminal.lines).toEqual(['one', 'two', 'three, four', 'five'])
  })

  it('it is cut where the terminal ends, and removed when the program exits', async () => {
    await using terminal = await counting()
    const name = 'test/e2e/a-file-with-a-name-of-some-length.test.ts'
    terminal.type(`0.5 ${name}\n`)
    await terminal.shows(/: test/)
    expect(terminal.lines).toHaveLength(1)
    expect(terminal.lines[0]).toHaveLength(69)
    terminal.type('exit\n')
    expect(await terminal.ended).toBe(0)
    expect(terminal.lines).toEqual([])
  })

  it('that knows no control sequences, it is plain lines', async () => {
    await using terminal = await counting({ TERM: 'dumb' })
    terminal.type('0.5 half\nprint one\nexit\n')
    expect(await terminal.ended).toBe(0)
    expect(terminal.written).toBe('Counting ...\r\none\r\n')
  })
})

describe('Vitest', () => {
  const VITEST = [process.execPath, 'node_modules/vitest/vitest.mjs', 'run', 'test/unit/wire/http.test.ts']

  it('shows in one line what runs', async () => {
    await using terminal = new Terminal(VITEST, { columns: 120, env: { TEST_TITLE: '2 of 8: Testing' } })
    expect(await terminal.ended).toBe(0)
    expect(terminal.written).toMatch(/2 of 8: Testing, \d+ s so far: 0 of 1 files, test\/unit\/wire\/http\.test\.ts/)
    expect(terminal.lines.join('\n')).not.toContain('Testing')
    await terminal.shows(/^ +Tests +\d+ passed/m)
  })

  it('prints plain lines where there is no terminal', async () => {
    const run = new CommandRun(VITEST, process.cwd(), { NO_COLOR: '1', FORCE_COLOR: '0', TEST_TITLE: 'Testing' })
    expect(await run.ended).toBe(0)
    expect(run.stderr).toBe('Testing ...\n')
    expect(run.stdout).toMatch(/^ +Tests +\d+ passed/m)
    expect(run.stdout).not.toMatch(/\r|\x1b/)
  })
})

describe('What npm start installs', () => {
  /** A clone of which three packages are for this machine, and programs that wait for a file before they go on. */
  beforeEach(() => {
    cpSync('examples', join(directory, 'examples'), { recursive: true })
    const packages = {
      '': {},
      'node_modules/one': {},
      'node_modules/two': {},
      'node_modules/three': { os: [process.platform], cpu: [process.arch] },
      'node_modules/elsewhere': { os: ['plan9'] },
    }
    writeFileSync(join(directory, 'package-lock.json'), JSON.stringify({ packages }))
    writeFileSync(join(directory, 'package.json'), '{ "type": "module" }')
  })

  it('shows how far it is, by packages and by what apt-get says', async () => {
    const place = (name: string) => `mkdir -p node_modules/${name}; echo '{}' > node_modules/${name}/package.json`
    script('npm', [place('one'), place('two'), 'until [ -e go ]; do sleep 0.05; done', place('three')].join('\n'))
    script(
      'apt-get',
      `[ "$1" = update ] && exit
      echo 'dlstatus:1:50.0:Retrieving file 1 of 2'
      until [ -e go-on ]; do sleep 0.05; done
      echo 'pmstatus:some-program:50.0:Unpacking some-program'
      until [ -e go-ahead ]; do sleep 0.05; done
      ln -s /bin/true some-program`,
    )
    script('sudo', 'shift; exec "$@"')
    script(
      'install.mjs',
      `import { installPackages, installPrograms } from './examples/setup.mjs'
      await installPackages()
      await installPrograms({ 'some-program': 'some-package' }, 'advice')
      console.log('done')`,
      '',
    )
    await using terminal = new Terminal([process.execPath, 'install.mjs'], {
      cwd: directory,
      env: { PATH: `${directory}:${process.env.PATH}` },
      columns: 120,
    })
    await terminal.shows(/^Installing packages \(npm ci\) \[#{13}-{7}\] 66 %, \d+ s left, .*: 2 of 3 packages$/m)
    writeFileSync(join(directory, 'go'), '')
    const apt = 'Installing some-package \\(apt-get install\\)'
    await terminal.shows(new RegExp(`^${apt} \\[#{5}-{15}\\] 25 %, .*: Retrieving file 1 of 2$`, 'm'))
    writeFileSync(join(directory, 'go-on'), '')
    await terminal.shows(new RegExp(`^${apt} \\[#{15}-{5}\\] 75 %, .*: Unpacking some-program$`, 'm'))
    writeFileSync(join(directory, 'go-ahead'), '')
    expect(await terminal.ended).toBe(0)
    expect(terminal.lines).toEqual(['done'])
  })

  function script(name: string, body: string, head = '#!/bin/sh\n'): void {
    const path = join(directory, name)
    writeFileSync(path, `${head}${body}\n`)
    chmodSync(path, 0o755)
  }
})
