import { fstatSync } from 'node:fs'
import { hostname } from 'node:os'
import { ignoreErrors, type Level, LOG_LEVELS, type LogFields, type Logger, withWorker } from '../../runtime/log.ts'
import { libzmq } from '../../runtime/process/libzmq.ts'

/** The lowest level that is logged; `silent` logs nothing. */
export type LogLevel = Level | 'silent'

/** Drops lines below a level. */
export function levelledLogger(logger: Logger, least: LogLevel): Logger {
  const levels = least === 'silent' ? [] : LOG_LEVELS.slice(LOG_LEVELS.indexOf(least))
  const levelled: Logger = {}
  for (const level of levels) levelled[level] = (line, ...fields) => logger[level]?.(line, ...fields)
  return levelled
}

/** The forms of log lines: text, or objects as pino writes them. */
export const LOG_FORMATS = ['text', 'json'] as const
export type LogFormat = (typeof LOG_FORMATS)[number]

/** pino's numbers. */
const LEVEL_NUMBERS = { debug: 20, info: 30, warn: 40, error: 50 } satisfies Record<Level, number>

function jsonLine(level: Level, msg: string, fields: LogFields | undefined): string {
  const time = Date.now()
  return JSON.stringify({ level: LEVEL_NUMBERS[level], time, pid: process.pid, hostname: hostname(), ...fields, msg })
}

/** The used part of a stream: `hasColors` exists on terminals, and follows NO_COLOR. */
interface Output {
  readonly fd: number
  readonly isTTY: boolean
  hasColors(): boolean
  write(text: string, written: (error?: Error | null) => void): boolean
  on(event: 'error', listener: () => void): unknown
  /** Bytes that wait to be written. */
  readonly writableLength: number
}

/** Bytes that may wait for the reader of the stream. */
const MOST_WAITING = 1024 * 1024

const STYLES = { debug: 'dim', info: 'reset', warn: 'yellow', error: 'red' } as const satisfies Record<Level, string>

/**
 * Logs to stderr: text is coloured on a terminal, and has the time elsewhere, except in systemd's journal, which adds it. Never waits: drops
 * lines, and the next line says how many are missing.
 */
export function terminalLogger(format: LogFormat = 'text', stream: Output = process.stderr): Logger {
  const coloured = stream.isTTY && stream.hasColors()
  const timed = !stream.isTTY && !isJournal(stream.fd)
  const render = (level: Level, line: string, fields: LogFields | undefined) => {
    if (format === 'json') return jsonLine(level, line, fields)
    const text = withWorker(line, fields)
    if (timed) return `${new Date().toISOString()} ${text}`
    return coloured
      ? process.getBuiltinModule('node:util').styleText(STYLES[level], text, { validateStream: false })
      : text
  }
  let missing = 0
  ignoreErrors(stream) // the callback of each write handles its error
  return eachLevel((level, line, fields) => {
    if (stream.writableLength > MOST_WAITING) {
      missing++
      return
    }
    const before = missing
    missing = 0
    stream.write(`${render(level, line + gap(before), fields)}\n`, (error) => {
      if (error) missing += before + 1
    })
  })
}

function eachLevel(log: (level: Level, line: string, fields?: LogFields) => void): Logger {
  const logger: Logger = {}
  for (const level of LOG_LEVELS) logger[level] = (line, fields) => log(level, line, fields)
  return logger
}

function gap(missing: number): string {
  return missing > 0 ? ` (${missing} lines before this one are missing)` : ''
}

/** Whether a stream goes to systemd's journal: JOURNAL_STREAM has its device and inode, and stays when the stream is redirected. */
function isJournal(fd: number): boolean {
  const { JOURNAL_STREAM } = process.env
  if (JOURNAL_STREAM === undefined) return false
  const { dev, ino } = fstatSync(fd)
  return JOURNAL_STREAM === `${dev}:${ino}`
}

/** Lines that wait for a listener; those beyond are dropped. */
const HIGH_WATER_MARK = 1000
/** Longer lines are cut, in characters, which bounds the memory of waiting lines. */
const LONGEST_LINE = 16 * 1024
/** Time for lines on their way at the end, in milliseconds. */
const LINGER = 500

/**
 * Sends each log line to a PULL socket as a message in UTF-8: `TIME LEVEL LINE`, like uWSGI's `--logger zeromq:tcp://HOST:PORT`, or a JSON
 * object. Never waits: without a listener it keeps 1000 lines, and the first line after a gap says how many are missing.
 *
 * @throws {Error} ZeroMQ's own, if it refuses the address.
 */
export function zeromqLogger(address: string, format: LogFormat = 'text'): Logger & Disposable {
  const socket = new (libzmq().Push)({ sendHighWaterMark: HIGH_WATER_MARK, sendTimeout: 0, linger: LINGER })
  socket.connect(address)
  let missing = 0
  const logger = eachLevel((level, line, fields) => {
    const text = (line.length > LONGEST_LINE ? `${line.slice(0, LONGEST_LINE)}...` : line) + gap(missing)
    missing = 0
    const message =
      format === 'json'
        ? jsonLine(level, text, fields)
        : `${new Date().toISOString()} ${level} ${withWorker(text, fields)}`
    socket.send(message).catch(() => {
      missing++
    })
  })
  return { ...logger, [Symbol.dispose]: () => socket.close() }
}
