import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { text } from 'node:stream/consumers'
import { setImmediate, setTimeout } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { RECORDS, RequestLog } from '../../../src/operations/request-log.ts'
import { CollectingLogger } from '../../support/logger.ts'

const ROOT = process.getuid?.() === 0

let directory: string
let path: string
let logger: CollectingLogger

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'request-log-'))
  path = join(directory, 'access.log')
  logger = new CollectingLogger()
})

afterEach(() => rmSync(directory, { recursive: true, force: true }))

/** Lines with their number and some length. */
function line(number: number): string {
  return `${number} ${'x'.repeat(80 + (number % 100))}`
}

function linesOf(text: string): string[] {
  expect(text === '' || text.endsWith('\n')).toBe(true)
  return text.split('\n').slice(0, -1)
}

/** Expects whole lines, each once and in order; returns how many. */
function expectWhole(text: string): number {
  const lines = linesOf(text)
  let last = -1
  for (const each of lines) {
    const number = Number.parseInt(each, 10)
    if (number <= last || each !== line(number)) throw new Error(`line ${JSON.stringify(each)} after ${last}`)
    last = number
  }
  return lines.length
}

/** The number of lines that warnings report as lost. */
function lost(warnings: readonly string[] = logger.warnings): number {
  return warnings.reduce((sum, each) => sum + Number(/ lost (\d+) lines?: /.exec(each)?.[1] ?? 0), 0)
}

/** Writes lines over many turns, those of every second turn as bytes. */
async function writeLines(log: RequestLog, from: number, to: number, turn = 100): Promise<void> {
  for (let number = from; number < to; number += turn) {
    const lines = Array.from({ length: Math.min(turn, to - number) }, (_, more) => line(number + more))
    if ((number / turn) % 2 === 0) for (const each of lines) log.write(each)
    else log.write(Buffer.from(`${lines.join('\n')}\n`))
    await setImmediate()
  }
}

describe('a file', () => {
  it('is made for its owner and group, and appended to', async () => {
    const log = new RequestLog(path, logger)
    log.write('first')
    await log.close()
    const next = new RequestLog(path, logger)
    next.write(Buffer.from('second\nthird\n'))
    next.write('fourth')
    await Promise.all([next.close(), next.close()])
    next.write('late')
    expect(readFileSync(path, 'utf8')).toBe('first\nsecond\nthird\nfourth\n')
    expect(statSync(path).mode & 0o777 & ~0o640).toBe(0)
    expect(logger.lines).toEqual([])
  })

  it('is written before its time when a burst comes, so that none of it is lost', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    try {
      const log = new RequestLog(path, logger)
      // Two thirds of what may wait; then the same again, as soon as the first chunk is written.
      const many = Array.from({ length: 40_000 }, (_, number) => line(number))
      for (const each of many) log.write(each)
      while (statSync(path).size < 5_000_000) await setImmediate()
      for (const each of many) log.write(each)
      while (statSync(path).size < 10_000_000) await setImmediate()
      vi.useRealTimers()
      await log.close()
      expect(readFileSync(path, 'utf8')).toBe([...many, ...many, ''].join('\n'))
      expect(logger.lines).toEqual([])
    } finally {
      vi.useRealTimers()
    }
  })

  it('is rotated under load without a lost line', async () => {
    const log = new RequestLog(path, logger)
    let over = false
    const rotating = (async () => {
      let rotations = 0
      for (; !over || rotations < 4; rotations++) {
        renameSync(path, join(directory, String(rotations).padStart(6, '0')))
        // Sometimes again before the last is done.
        const reopened = log.reopen()
        if (rotations % 3 !== 0) await reopened
        while (!existsSync(path)) await setImmediate()
        await setTimeout(2)
      }
      return rotations
    })()
    // All of them may wait at once, so that the slowest disk loses none.
    await writeLines(log, 0, 60_000)
    over = true
    expect(await rotating).toBeGreaterThanOrEqual(4)
    const contents = () =>
      readdirSync(directory)
        .sort()
        .map((file) => readFileSync(join(directory, file), 'utf8'))
    await expect.poll(() => expectWhole(contents().join(''))).toBe(60_000)
    await log.close()
    for (const content of contents()) linesOf(content)
    expect(logger.lines).toEqual([])
  })

  it('is used on where it cannot be opened anew', async () => {
    const log = new RequestLog(path, logger)
    log.write('first')
    renameSync(path, join(directory, 'old'))
    mkdirSync(path)
    await log.reopen()
    log.write('second')
    await log.close()
    expect(readFileSync(join(directory, 'old'), 'utf8')).toBe('first\nsecond\n')
    expect(logger.errors).toEqual([
      `mongrel2-fetch: the access log ${path} cannot be opened anew, and the open file is used on: it is a directory; give the path of a file in it`,
    ])
  })

  it('is made anew where it was deleted', async () => {
    const log = new RequestLog(path, logger)
    log.write('first')
    await expect.poll(() => readFileSync(path, 'utf8')).toBe('first\n')
    rmSync(path)
    while (!existsSync(path) || statSync(path).size === 0) {
      log.write('more')
      await setTimeout(10)
    }
    log.write('last')
    await log.close()
    expect(readFileSync(path, 'utf8')).toContain('last\n')
    expect(logger.warnings).toEqual([
      `mongrel2-fetch: the access log ${path} was deleted, with its last lines, and is made anew`,
    ])
  })

  it.each([
    ['a directory', () => directory, 'it is a directory; give the path of a file in it'],
    ['in no directory', () => join(directory, 'no', 'access.log'), 'its directory does not exist; make it'],
    ['a FIFO without a reader', makeFifo, 'nobody reads it; start the reader of the FIFO first'],
  ])('that is %s is refused', (_what, pathOf, cause) => {
    const refused = pathOf()
    expect(() => new RequestLog(refused, logger, { ...RECORDS, option: '--access-log' })).toThrow(
      `--access-log: expected a file that can be opened to append, got "${refused}": ${cause}`,
    )
  })

  it.skipIf(!ROOT)('that this user may not write is refused', () => {
    writeFileSync(path, '', { mode: 0o600 })
    process.seteuid?.(65_534)
    try {
      expect(() => new RequestLog(path, logger)).toThrow('this user may not write there; change its owner or mode')
    } finally {
      process.seteuid?.(0)
    }
  })
})

describe('a full disk', () => {
  it('loses lines beyond 8 MiB, and says once a second how many', async () => {
    const log = new RequestLog('/dev/full', logger)
    await writeLines(log, 0, 100_000, 1000)
    expect(await logger.next('warn')).toBe(
      'mongrel2-fetch: the access log /dev/full cannot be written now: the disk is full',
    )
    await expect.poll(() => lost()).toBeGreaterThan(1000)
    await log.close()
    expect(lost()).toBe(100_000)
    expect(logger.warnings.length).toBeLessThanOrEqual(3)
    expect(logger.warnings.slice(1).every((each) => each.endsWith(': the disk is full'))).toBe(true)
  })

  it.skipIf(!ROOT)('loses no line where it has room again, and writes none in part', async () => {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', directory])
    try {
      writeFileSync(join(directory, 'filler'), 'x'.repeat(100_000))
      const log = new RequestLog(path, logger)
      await writeLines(log, 0, 1500)
      expect(await logger.next('warn')).toContain('the disk is full')
      expect(readFileSync(path, 'utf8').endsWith('\n')).toBe(false)
      rmSync(join(directory, 'filler'))
      await expect.poll(() => expectAllWhole(path)).toBe(1500)
      await log.close()
      expect(lost()).toBe(0)
    } finally {
      execFileSync('umount', [directory])
    }
  })

  it.skipIf(!ROOT)('loses the line that was cut where the file is moved away', async () => {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=128k', 'tmpfs', directory])
    const elsewhere = mkdtempSync(join(tmpdir(), 'request-log-'))
    try {
      const log = new RequestLog(path, logger)
      await writeLines(log, 0, 1500)
      expect(await logger.next('warn')).toContain('the disk is full')
      const before = readFileSync(path, 'utf8')
      rmSync(path)
      execFileSync('ln', ['-s', join(elsewhere, 'access.log'), path])
      await log.reopen()
      await log.close()
      const after = readFileSync(join(elsewhere, 'access.log'), 'utf8')
      expect(expectWhole(before.slice(0, before.lastIndexOf('\n') + 1) + after)).toBe(1499)
      expect(lost()).toBe(1)
    } finally {
      execFileSync('umount', [directory])
      rmSync(elsewhere, { recursive: true })
    }
  })
})

/** How many lines the file has, if the last is whole. */
function expectAllWhole(file: string): number {
  const content = readFileSync(file, 'utf8')
  return content.endsWith('\n') ? expectWhole(content) : 0
}

function makeFifo(): string {
  execFileSync('mkfifo', [path])
  return path
}

describe('a FIFO', () => {
  /** The end of a reader that reads nothing. */
  let idle: number

  beforeEach(() => {
    idle = openSync(makeFifo(), constants.O_RDONLY | constants.O_NONBLOCK)
  })

  /** Reads everything, in a process of its own. */
  function read(): { content: string; lines: number; ended: Promise<unknown> } {
    const reader = spawn('cat', [path], { stdio: ['ignore', 'pipe', 'inherit'] })
    const read = { content: '', lines: 0, ended: once(reader, 'close') }
    reader.stdout.setEncoding('utf8').on('data', (text: string) => {
      read.content += text
      read.lines += text.split('\n').length - 1
    })
    return read
  }

  it('with a slow reader does not block, and loses no line of 8 MiB', async () => {
    const log = new RequestLog(path, logger)
    await writeLines(log, 0, 30_000)
    await log.reopen() // it is the same file
    await writeLines(log, 30_000, 40_000)
    const reader = read()
    await expect.poll(() => reader.lines).toBe(40_000)
    await log.close()
    closeSync(idle)
    await reader.ended
    expect(expectWhole(reader.content)).toBe(40_000)
    expect(logger.lines).toEqual([])
  })

  it('with a reader that stands still loses lines, and counts them', async () => {
    const log = new RequestLog(path, logger)
    await writeLines(log, 0, 100_000, 1000)
    await expect.poll(() => lost()).toBeGreaterThan(1000)
    const reader = read()
    await expect.poll(() => reader.lines + lost()).toBe(100_000)
    await log.close()
    closeSync(idle)
    await reader.ended
    expect(expectWhole(reader.content) + lost()).toBe(100_000)
    expect(logger.warnings[0]).toMatch(/ lost \d+ lines: its reader is slow$/)
  })

  it('whose reader has gone gives the next one what waits', async () => {
    const log = new RequestLog(path, logger)
    closeSync(idle)
    await writeLines(log, 0, 1000)
    const warning = `mongrel2-fetch: the access log ${path} cannot be written now: its reader has gone`
    expect(await logger.next('warn')).toBe(warning)
    const reader = read()
    await expect.poll(() => reader.lines).toBe(1000)
    await log.close()
    await reader.ended
    expect(expectWhole(reader.content)).toBe(1000)
    expect(logger.warnings).toEqual([warning])
  })
})

describe('a process that ends without closing its log', () => {
  it.each([
    ['by an exception', 'throw new Error("as the test wants")', 1],
    ['by itself', 'process.exit(7)', 7],
  ])('%s has written every line', async (_way, end, code) => {
    const program = `
      import { RequestLog } from './src/operations/request-log.ts'
      const [file, stdout] = [new RequestLog(process.argv[1], {}), new RequestLog('-', {})]
      const line = (number) => number + ' ' + 'x'.repeat(80 + (number % 100))
      for (let number = 0; number < 10_000; number++) file.write(line(number))
      for (let number = 0; number < 100; number++) stdout.write(line(number))
      ${end}`
    const args = ['--import', 'tsx', '--input-type=module', '--eval', program, path]
    const child = spawn(process.execPath, args, { cwd: resolve('.'), stdio: ['ignore', 'pipe', 'ignore'] })
    const exit = once(child, 'exit')
    expect(expectWhole(await text(child.stdout))).toBe(100)
    expect(await exit).toEqual([code, null])
    expect(expectWhole(readFileSync(path, 'utf8'))).toBe(10_000)
  })
})

/** Writes lines to stdout, then what its logger got to stderr. */
const PROGRAM = `
import { setImmediate, setTimeout } from 'node:timers/promises'
import { RequestLog } from './src/operations/request-log.ts'
const logged = []
const log = new RequestLog('-', { warn: (line) => logged.push(line) })
for (let number = 0; number < Number(process.argv[1]); number++) {
  log.write(number + ' ' + 'x'.repeat(80 + (number % 100)))
  if (number % 500 === 499) await setImmediate()
}
await log.reopen()
await setTimeout(Number(process.argv[2]))
await log.close()
process.stderr.write(JSON.stringify(logged), () => process.exit())
`

describe('stdout', () => {
  /** Runs the program with its stdout. Resolves with what its logger got. */
  async function run(stdout: 'pipe' | number, count: number, wait = 0) {
    const args = ['--import', 'tsx', '--input-type=module', '--eval', PROGRAM, String(count), String(wait)]
    const child = spawn(process.execPath, args, { cwd: resolve('.'), stdio: ['ignore', stdout, 'pipe'] })
    const logged = text(child.stderr as NodeJS.ReadableStream).then((text) => JSON.parse(text) as string[])
    return { stdout: child.stdout, logged, exit: once(child, 'exit') }
  }

  it('as a pipe gets every line, though its reader is slow', async () => {
    const { stdout, logged, exit } = await run('pipe', 40_000)
    let content = ''
    for await (const bytes of stdout ?? []) {
      content += bytes
      await setTimeout(1)
    }
    expect(expectWhole(content)).toBe(40_000)
    expect(await logged).toEqual([])
    expect(await exit).toEqual([0, null])
  })

  it('as a pipe whose reader stands still loses lines, and counts them', async () => {
    // Node's own pipes are sockets.
    const fifo = openSync(makeFifo(), constants.O_RDWR)
    const { logged, exit } = await run(fifo, 100_000)
    const warnings = await logged
    await exit
    const content = text(spawn('cat', [path], { stdio: ['ignore', 'pipe', 'inherit'] }).stdout)
    await setTimeout(100)
    closeSync(fifo)
    const got = await content
    // Lines in the pipe count as lost, too, until the whole part of the batch is there.
    const whole = expectWhole(got.slice(0, got.lastIndexOf('\n') + 1))
    expect(whole).toBeGreaterThan(0)
    expect(lost(warnings)).toBeLessThanOrEqual(100_000)
    expect(lost(warnings)).toBeGreaterThanOrEqual(100_000 - whole)
    expect(warnings[0]).toMatch(/ lost \d+ lines: they come faster than they can be written$/)
  })

  it('as a pipe whose reader has gone loses all lines, and counts them', async () => {
    const { stdout, logged, exit } = await run('pipe', 100_000, 1500)
    stdout?.destroy()
    const warnings = await logged
    expect(lost(warnings)).toBe(100_000)
    expect(warnings[0]).toBe('mongrel2-fetch: the access log stdout cannot be written now: its reader has gone')
    expect(await exit).toEqual([0, null])
  })

  it('as a file is written as one', async () => {
    writeFileSync(path, '')
    const fd = openSync(path, 'w')
    const { logged, exit } = await run(fd, 10_000)
    closeSync(fd)
    expect(await logged).toEqual([])
    expect(await exit).toEqual([0, null])
    expect(expectWhole(readFileSync(path, 'utf8'))).toBe(10_000)
  })

  it('as a full device loses all lines, and counts them', async () => {
    const fd = openSync('/dev/full', 'w')
    const { logged, exit } = await run(fd, 10_000)
    closeSync(fd)
    expect(lost(await logged)).toBe(10_000)
    expect(await exit).toEqual([0, null])
  })
})
