import { Mongrel2Error } from '../runtime/errors.ts'
import type { Logger } from '../runtime/log.ts'
import { MalformedError } from '../wire/malformed.ts'
import { parseMessage } from '../wire/message.ts'
import { type LineFormat, lineFormat } from './line-format.ts'
import { renderMetrics } from './metrics.ts'
import { RecentWarnings } from './recent-warnings.ts'
import { ObservedRequest, type RequestObserver, type RequestSink } from './request-entry.ts'
import { RequestLog } from './request-log.ts'
import { type CountedRequest, RequestTotals } from './request-totals.ts'
import type { ServerState } from './server-state.ts'

interface AccountSettings {
  readonly metrics: boolean
  readonly accessLog: string | undefined
  readonly accessLogFormat: string
  readonly logger: Logger
}

/** What a server keeps of ended requests: their counts, and lines in a file. */
export class RequestAccounts implements RequestSink {
  readonly observer: RequestObserver | undefined
  /** The server's logger, whose last warnings are kept. */
  readonly logger: Logger
  readonly #warnings: RecentWarnings | undefined
  readonly #totals: RequestTotals | undefined
  readonly #log: RequestLog | undefined
  readonly #line: LineFormat | undefined

  constructor({ metrics, accessLog, accessLogFormat, logger }: AccountSettings) {
    if (metrics || accessLog !== undefined) this.observer = (entry) => this.add(entry, this.#line?.(entry))
    if (metrics) {
      this.#totals = new RequestTotals()
      this.#warnings = new RecentWarnings(logger)
    }
    this.logger = this.#warnings?.logger ?? logger
    if (accessLog === undefined) return
    this.#line = lineFormat(accessLogFormat)
    this.#log = new RequestLog(accessLog, logger)
  }

  /** The part of the server's state that is kept here. */
  get state(): Pick<ServerState, 'totals' | 'warnings'> {
    if (this.#totals === undefined || this.#warnings === undefined) return {}
    const { byClass, byDuration, aborted, bytes, received, duration } = this.#totals
    const totals = { byClass: [...byClass], byDuration: [...byDuration], aborted, bytes, received, duration }
    return { totals, warnings: [...this.#warnings.lines] }
  }

  /** Takes a request that no worker ended, by its message. `since`: when it was dealt, by `performance.now()`. */
  observeUnserved(message: Buffer, since: number | undefined, status: number | undefined): void {
    try {
      const request = new ObservedRequest(parseMessage(message), (entry) => this.observer?.(entry), since)
      request.worker = undefined
      request.status = status
      request.aborted = status === undefined
      request.end()
    } catch (error) {
      // A malformed message is no request.
      if (!(error instanceof MalformedError)) throw error
    }
  }

  /** Takes a request that ended in another process, with its line for the log. */
  add(request: CountedRequest, line: string | undefined): void {
    this.#totals?.add(request)
    if (line) this.#log?.write(line)
  }

  /** The metrics in the text format of Prometheus; throws Mongrel2Error `invalid_option` if they are not counted. */
  metrics(state: ServerState, openMetrics = false): string {
    if (this.#totals === undefined) throw new Mongrel2Error('invalid_option', 'expected the option metrics to be true')
    return renderMetrics(this.#totals, state, openMetrics)
  }

  /** Opens the file of the log anew, after it was moved away. */
  reopen(): void {
    void this.#log?.reopen()
  }

  async close(): Promise<void> {
    await this.#log?.close()
  }
}
