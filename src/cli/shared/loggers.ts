import { styleText } from 'node:util'
import { Push } from 'zeromq'
import { type Level, LOG_LEVELS, type Logger } from '../../runtime/log.ts'

/** The lowest level that is logged; `silent` logs nothing. */
export type LogLevel = Level | 'silent'

/** Drops lines below a level. */
export function levelledLogger(logger: Logger, least: LogLevel): Logger {
  const levels = least === 'silent' ? [] : LOG_LEVELS.slice(LOG_LEVELS.indexOf(least))
  const levelled: Logger = {}
  for (const level of levels) levelled[level] = (line) => logger[level]?.(line)
  return levelled
}

/** The used part of a stream: `hasColors` exists on terminals, and follows NO_COLOR. */
interface Output {
  readonly isTTY: boolean
  hasColors(): boolean
  write(text: string, written: (error?: Error | null) => void): boolean
  on(event: 'error', listener: () => void): unknown
  /** Bytes that wait to be written. */
  readonly writableLength: number
}

/** Bytes that may wait for the reader of the stream. */
const MOST_WAITING = 1024 * 1024

/** Logs to stderr, in colours on a terminal. Never waits: drops lines, and the next line says how many are missing. */
export function terminalLogger(stream: Output = process.stderr): Logger {
  const coloured = stream.isTTY && stream.hasColors()
  let missing = 0
  stream.on('error', () => {}) // the callback of each write handles its error
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

/** Lines that wait for a listener; those beyond are dropped. */
const HIGH_WATER_MARK = 1000
/** Longer lines are cut, in characters, which bounds the memory of waiting lines. */
const LONGEST_LINE = 16 * 1024
/** Time for lines on their way at the end, in milliseconds. */
const LINGER = 500

/**
 * Sends each log line to a PULL socket as a message `TIME LEVEL LINE` in UTF-8, like uWSGI's `--logger zeromq:tcp://HOST:PORT`. Never waits:
 * without a listener it keeps 1000 lines, and the first line after a gap says how many are missing.
 *
 * @throws {Error} ZeroMQ's own, if it refuses the address.
 */
export function zeromqLogger(address: string): Logger & Disposable {
  const socket = new Push({ sendHighWaterMark: HIGH_WATER_MARK, sendTimeout: 0, linger: LINGER })
  socket.connect(address)
  let missing = 0
  const send = (level: string) => (line: string) => {
    const gap = missing > 0 ? ` (${missing} lines before this one are missing)` : ''
    missing = 0
    const cut = line.length > LONGEST_LINE ? `${line.slice(0, LONGEST_LINE)}...` : line
    socket.send(`${new Date().toISOString()} ${level} ${cut}${gap}`).catch(() => {
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
