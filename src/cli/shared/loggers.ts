import { styleText } from 'node:util'
import { Push } from 'zeromq'
import { type Level, LOG_LEVELS, type Logger } from '../../runtime/log.ts'

/** The least that is logged; `silent` is nothing at all. */
export type LogLevel = Level | 'silent'

/** A logger that leaves out what is below a level. */
export function levelledLogger(logger: Logger, least: LogLevel): Logger {
  const levels = least === 'silent' ? [] : LOG_LEVELS.slice(LOG_LEVELS.indexOf(least))
  const levelled: Logger = {}
  for (const level of levels) levelled[level] = (line) => logger[level]?.(line)
  return levelled
}

/** What is used of a stream: `hasColors` is there on terminals, and knows NO_COLOR. */
interface Output {
  readonly isTTY: boolean
  hasColors(): boolean
  write(text: string, written: (error?: Error | null) => void): boolean
  on(event: 'error', listener: () => void): unknown
  /** Bytes that wait to be written. */
  readonly writableLength: number
}

/** Bytes that may wait for whoever reads the stream. */
const MOST_WAITING = 1024 * 1024

/**
 * Writes lines to stderr, with colours where that is a terminal that has them.
 *
 * Nothing ever waits for its reader: a line that cannot be written is dropped, and the next one that can says how many were.
 */
export function terminalLogger(stream: Output = process.stderr): Logger {
  const coloured = stream.isTTY && stream.hasColors()
  let missing = 0
  // Each failed write is told to its callback, too.
  stream.on('error', () => {})
  const write = (style: Parameters<typeof styleText>[0]) => (line: string) => {
    if (stream.writableLength > MOST_WAITING) {
      missing++
      return
    }
    const before = missing
    missing = 0
    const text = before > 0 ? `${line} (${before} lines before this one are missing)` : line
    stream.write(`${coloured ? styleText(style, text, { validateStream: false }) : text}\n`, (error) => {
      if (error) missing += before + 1
    })
  }
  return { debug: write('dim'), info: write('reset'), warn: write('yellow'), error: write('red') }
}

/** Lines that wait for somebody to listen; those beyond are dropped. */
const HIGH_WATER_MARK = 1000
/** Longer lines are cut, in characters: with the mark it bounds what waits. */
const LONGEST_LINE = 16 * 1024
/** How long the end may wait for lines that are on their way, in milliseconds. */
const LINGER = 500

/**
 * Sends log lines to a PULL socket, as uWSGI's `--logger zeromq:tcp://HOST:PORT` does: a message each, `TIME LEVEL LINE` in UTF-8.
 * Never waits: without a listener 1000 lines are kept, and the first line after a gap says how many are missing.
 *
 * @throws {Error} ZeroMQ's own, when it does not take the address.
 */
export function zeromqLogger(address: string): Logger & Disposable {
  const socket = new Push({ sendHighWaterMark: HIGH_WATER_MARK, sendTimeout: 0, linger: LINGER })
  socket.connect(address)
  let missing = 0
  const send = (level: string) => (line: string) => {
    const gap = missing > 0 ? ` (${missing} lines before this one are missing)` : ''
    missing = 0
    const said = line.length > LONGEST_LINE ? `${line.slice(0, LONGEST_LINE)}...` : line
    socket.send(`${new Date().toISOString()} ${level} ${said}${gap}`).catch(() => {
      missing++
    })
  }
  return {
    debug: send('debug'),
    info: send('info'),
    warn: send('warn'),
    error: send('error'),
    [Symbol.dispose]: () => socket.close(),
  }
}
