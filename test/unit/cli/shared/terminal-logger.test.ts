import { fstatSync } from 'node:fs'
import { hostname } from 'node:os'
import { afterEach, expect, it, vi } from 'vitest'
import { type LogFormat, levelledLogger, terminalLogger } from '../../../../src/cli/shared/loggers.ts'
import { type Logger, safeLogger } from '../../../../src/runtime/log.ts'

afterEach(() => vi.unstubAllEnvs())

/** What a logger writes to a stream like this. */
function written(
  { isTTY, colours, format }: { isTTY: boolean; colours?: boolean; format?: LogFormat },
  log: (logger: Logger) => void = (logger) => logger.error?.('wrong'),
): string {
  let text = ''
  const write = (piece: string) => {
    text += piece
    return true
  }
  const stream = { fd: 2, isTTY, hasColors: () => colours === true, write, on: () => {}, writableLength: 0 }
  log(levelledLogger(safeLogger(terminalLogger(format, stream)), 'debug'))
  return text
}

const TIME = String.raw`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`

it('has colours on a terminal that has them, and nowhere else', () => {
  expect(written({ isTTY: true, colours: true })).toBe('\x1b[31mwrong\x1b[39m\n')
  expect(written({ isTTY: true })).toBe('wrong\n')
  expect(written({ isTTY: false, colours: true })).not.toContain('\x1b')
})

it('has the time where it is no terminal, but not in the journal of systemd', () => {
  expect(written({ isTTY: false })).toMatch(new RegExp(`^${TIME} wrong\n$`))
  const { dev, ino } = fstatSync(2)
  vi.stubEnv('JOURNAL_STREAM', `${dev}:${ino}`)
  expect(written({ isTTY: false })).toBe('wrong\n')
  // Stderr is redirected to a file, and the variable is still there.
  vi.stubEnv('JOURNAL_STREAM', `${dev}:${ino + 1}`)
  expect(written({ isTTY: false })).toMatch(new RegExp(`^${TIME} wrong\n$`))
})

it('names the worker that wrote a line', () => {
  const log = (logger: Logger) => {
    logger.info?.('here', { worker: 12 })
    logger.debug?.('there', { worker: 13, node: 'db2' })
  }
  expect(written({ isTTY: true }, log)).toBe('[worker 12] here\n[worker 13 on db2] there\n')
  expect(written({ isTTY: false }, log)).toMatch(
    new RegExp(`^${TIME} \\[worker 12\\] here\n${TIME} \\[worker 13 on db2\\] there\n$`),
  )
})

it('writes objects like those of pino, each on a line', () => {
  const before = Date.now()
  const lines = written({ isTTY: true, colours: true, format: 'json' }, (logger) => {
    logger.debug?.('a')
    logger.info?.('b "\x1b" \n    c')
    logger.warn?.('d', { worker: 12 })
    logger.error?.('e', { worker: 13, node: 'db2' })
  }).split('\n')
  expect(lines.pop()).toBe('')
  const objects = lines.map((line) => JSON.parse(line))
  const common = { pid: process.pid, hostname: hostname(), time: expect.any(Number) }
  expect(objects).toEqual([
    { level: 20, ...common, msg: 'a' },
    { level: 30, ...common, msg: 'b "\\x1b" \n    c' },
    { level: 40, ...common, worker: 12, msg: 'd' },
    { level: 50, ...common, worker: 13, node: 'db2', msg: 'e' },
  ])
  expect(objects[0].time).toBeGreaterThanOrEqual(before)
})

/** A stream whose reader is told what to do. */
class SlowOutput {
  readonly fd = 2
  readonly isTTY = true
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
  const logger = terminalLogger('text', output)
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
