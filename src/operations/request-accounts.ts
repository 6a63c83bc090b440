import { Mongrel2Error } from '../runtime/errors.ts'
import type { Logger } from '../runtime/log.ts'
import { MalformedError } from '../wire/malformed.ts'
import { parseMessage } from '../wire/message.ts'
import { type LineFormat, lineFormat } from './line-format.ts'
import { renderMetrics } from './metrics.ts'
import { RecentWarnings } from './recent-warnings.ts'
import { Recorder, type RecorderSettings } from './recorder.ts'
import { ObservedRequest, type RequestObserver, type RequestSink } from './request-entry.ts'
import { RECORDS, RequestLog } from './request-log.ts'
import { type CountedRequest, RequestTotals } from './request-totals.ts'
import type { ServerState } from './server-state.ts'

interface AccountSettings extends RecorderSettings {
  readonly metrics: boolean
  readonly accessLog: string | undefined
  readonly accessLogFormat: string
  readonly record: string | undefined
  readonly logger: Logger
}

/** What a server keeps of ended requests: their counts, lines in a file, and records. */
export class RequestAccounts implements RequestSink {
  readonly observer: RequestObserver | undefined
  /** The server's logger, whose last warnings are kept. */
  readonly logger: Logger
  readonly #warnings: RecentWarnings | undefined
  readonly #totals: RequestTotals | undefined
  readonly #log: RequestLog | undefined
  readonly #line: LineFormat | undefined
  readonly #recorder: Recorder | undefined
  readonly #records: RequestLog | undefined

  constructor(settings: AccountSettings) {
    const { metrics, accessLog, accessLogFormat, record, logger } = settings
    if (metrics || accessLog !== undefined || record !== undefined) {
      this.observer = (entry, recorded) => {
        this.add(entry)
        if (this.#line !== undefined) this.log(this.#line(entry))
        if (recorded !== undefined) this.record(recorded)
      }
    }
    if (metrics) {
      this.#totals = new RequestTotals()
      this.#warnings = new RecentWarnings(logger)
    }
    this.logger = this.#warnings?.logger ?? logger
    if (accessLog !== undefined) {
      this.#line = lineFormat(accessLogFormat)
      this.#log = new RequestLog(accessLog, logger)
    }
    if (record === undefined) return
    this.#recorder = new Recorder(settings)
    this.#records = new RequestLog(record, logger, RECORDS)
  }

  /** The part of the server's state that is kept here. */
  get state(): Pick<ServerState, 'totals' | 'warnings'> {
    if (this.#totals === undefined || this.#warnings === undefined) return {}
    const { byClass, byDuration, aborted, bytes, received, duration } = this.#totals
    const totals = { byClass: [...byClass], byDuration: [...byDuration], aborted, bytes, received, duration }
    return { totals, warnings: [...this.#warnings.lines] }
  }

  /**
   * Takes a request that no worker ended, by its message. `since`: when it was dealt, by `performance.now()`; `answer`: what was sent in place
   * of a worker.
   */
  observeUnserved(message: Buffer, since: number | undefined, answer?: { status: number; bytes: Buffer }): void {
    try {
      const parsed = parseMessage(message)
      const request = new ObservedRequest(parsed, (...ended) => this.observer?.(...ended), since)
      if (this.#recorder !== undefined) request.recording = this.#recorder.begin(parsed)
      request.worker = undefined
      request.status = answer?.status
      request.bytes = answer?.bytes.length ?? 0
      request.aborted = answer === undefined
      if (answer !== undefined) request.recording?.keep(answer.bytes)
      request.end()
    } catch (error) {
      // A malformed message is no request.
      if (!(error instanceof MalformedError)) throw error
    }
  }

  /** Counts a request that ended, here or in another process. */
  add(request: CountedRequest): void {
    this.#totals?.add(request)
  }

  /** Takes a line for the log without its line feed, or whole lines as bytes. */
  log(lines: string | Buffer): void {
    this.#log?.write(lines)
  }

  /** Takes the line of a request that is recorded. */
  record(line: string): void {
    this.#records?.write(line)
  }

  /** The metrics in the text format of Prometheus; throws Mongrel2Error `invalid_option` if they are not counted. */
  metrics(state: ServerState, openMetrics = false): string {
    if (this.#totals === undefined) throw new Mongrel2Error('invalid_option', 'expected the option metrics to be true')
    return renderMetrics(this.#totals, state, openMetrics)
  }

  /** Opens the files of the log and of records anew, after they were moved away. */
  reopen(): void {
    void this.#log?.reopen()
    void this.#records?.reopen()
  }

  async close(): Promise<void> {
    await Promise.all([this.#log?.close(), this.#records?.close()])
  }
}
