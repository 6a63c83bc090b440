import { Push } from 'zeromq'
import type { Logger } from '../log.ts'

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
