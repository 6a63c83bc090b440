import { Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { describeError, type Level, type Logger } from '../../runtime/log.ts'
import { FramePipe } from '../protocol/frame-pipe.ts'
import { type News, ORDERS_FD, REPORTS_FD } from '../protocol/frames.ts'

// What a child process does that concerns its parent.

/**
 * Opens the pipes that the parent has started this process with.
 *
 * @param receive Called with each frame of the parent's. Must not throw.
 */
export function openPipes(receive: (frame: Buffer) => void): FramePipe {
  const reports = new Socket({ fd: REPORTS_FD, readable: false })
  return new FramePipe(ORDERS_FD, reports, receive, (error) => {
    console.error(`mongrel2-fetch: a worker cannot read its orders: ${describeError(error)}`)
  })
}

/**
 * A logger whose lines the parent writes, to the place that it alone has.
 *
 * @param levels What the parent logs; lines of other levels go nowhere.
 */
export function parentLogger(levels: readonly Level[], tell: (line: News & { news: 'line' }) => void): Logger {
  const logger: Logger = {}
  for (const level of levels) logger[level] = (line) => tell({ news: 'line', level, line })
  return logger
}

/** Ignores the signals that a terminal or a service manager sends to all processes: the parent says what follows. */
export function leaveSignalsToParent(): void {
  for (const signal of ['SIGINT', 'SIGHUP'] as const) process.on(signal, () => {})
}

/** Asks for a replacement when this process alone gets SIGTERM. */
export function leaveOnSigterm(leave: (reason: string) => void): void {
  process.on('SIGTERM', () => leave('it got SIGTERM'))
}

/**
 * Asks for a replacement after an error that nobody caught. Each thread has to call this: without a listener of its own the error ends the
 * thread, and its open requests fail.
 *
 * @param leave Told why.
 */
export function leaveAfterUncaughtError(logger: Logger, leave: (reason: string) => void): void {
  // A rejected promise that nobody handles is such an error, too.
  process.on('uncaughtException', (error) => {
    logger.error?.(`mongrel2-fetch: a worker leaves after an error that nobody caught: ${describeError(error)}`)
    leave('of an error that nobody caught')
  })
}

/** What Node reports of the modules that it loads, as `node --watch` asks for it. */
interface WatchReport {
  readonly 'watch:import'?: readonly string[]
  readonly 'watch:require'?: readonly (string | undefined)[]
}

/** The environment that has Node report the modules that it loads. */
export const WATCH_ENVIRONMENT: Readonly<Record<string, string>> = { WATCH_REPORT_DEPENDENCIES: '1' }

/**
 * Reports the files of the app that this process loads. Node sends them to the parent by the channel of `fork`, which this process
 * does not have.
 *
 * @param loaded Called with the path of each.
 */
export function watchImports(loaded: (path: string) => void): void {
  process.send = (report: WatchReport) => {
    const urls = (report['watch:import'] ?? []).filter((url) => url.startsWith('file:'))
    const paths = [...urls.map((url) => fileURLToPath(new URL(url))), ...(report['watch:require'] ?? [])]
    for (const path of paths) if (path?.includes('/node_modules/') === false) loaded(path)
    return true
  }
}
