import { Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { describeError, type Level, type Logger, surviveLostOutput } from '../../runtime/log.ts'
import { FramePipe } from '../protocol/frame-pipe.ts'
import { type News, ORDERS_FD, REPORTS_FD } from '../protocol/frames.ts'

// A child process' relation to its parent.

/** Opens the pipes of the parent. `receive` is called with each of its frames, and must not throw. */
export function openPipes(receive: (frame: Buffer) => void): FramePipe {
  const reports = new Socket({ fd: REPORTS_FD, readable: false })
  return new FramePipe(ORDERS_FD, reports, receive, (error) => {
    console.error(`mongrel2-fetch: a worker cannot read its orders: ${describeError(error)}`)
  })
}

/** A logger whose lines the parent writes, if they have one of its levels. */
export function parentLogger(levels: readonly Level[], tell: (line: News & { news: 'line' }) => void): Logger {
  const logger: Logger = {}
  for (const level of levels) logger[level] = (line) => tell({ news: 'line', level, line })
  return logger
}

/** Ignores lost output, and the signals that a terminal or a service manager sends to all processes: the parent decides what follows. */
export function leaveSignalsToParent(): void {
  surviveLostOutput()
  for (const signal of ['SIGINT', 'SIGHUP'] as const) process.on(signal, () => {})
}

/** Asks for a replacement after an uncaught error. Each thread calls it: otherwise the error would end the thread. */
export function leaveAfterUncaughtError(logger: Logger, leave: (reason: string) => void): void {
  // This includes unhandled rejections.
  process.on('uncaughtException', (error) => {
    logger.error?.(`mongrel2-fetch: a worker leaves after an error that nobody caught: ${describeError(error)}`)
    leave('of an error that nobody caught')
  })
}

/** Node's report of loaded modules, as for `node --watch`, or ours. */
interface WatchReport {
  readonly broken?: boolean
  readonly 'watch:import'?: readonly string[]
  readonly 'watch:require'?: readonly (string | undefined)[]
}

/** The environment that makes Node report loaded modules. */
export const WATCH_ENVIRONMENT: Readonly<Record<string, string>> = { WATCH_REPORT_DEPENDENCIES: '1' }

/**
 * Tells the parent each file of the app that this process loads, and that the app is broken. Node sends files by the channel of `fork`, which
 * this process lacks.
 */
export function reportApp(tell: (news: News & { news: 'file' | 'broken' }) => void): void {
  process.send = (report: WatchReport) => {
    if (report.broken) tell({ news: 'broken' })
    const urls = (report['watch:import'] ?? []).filter((url) => url.startsWith('file:'))
    const paths = [...urls.map((url) => fileURLToPath(new URL(url))), ...(report['watch:require'] ?? [])]
    for (const path of paths) if (path?.includes('/node_modules/') === false) tell({ news: 'file', path })
    return true
  }
}

/** Reports that this process shows why the app cannot be loaded, instead of the app. */
export function reportBroken(): void {
  process.send?.({ broken: true } satisfies WatchReport)
}
