import type { Settings } from '../../exchange/options.ts'
import { type LineFormat, lineFormat } from '../../operations/line-format.ts'
import type { RequestObserver } from '../../operations/request-entry.ts'
import type { EndedRequest, News, ReportToSend } from '../protocol/frames.ts'

type EndedSettings = Pick<Settings, 'metrics' | 'accessLog' | 'accessLogFormat' | 'record'>

/** The ended requests that a process has not reported to its parent yet. */
export class EndedRequests {
  readonly #wanted: boolean
  /** Renders the lines of the request log, if there is one. */
  readonly #line: LineFormat | undefined
  readonly #tell: (news: News) => void
  readonly #added: () => void
  #waiting: EndedRequest[] = []
  #lines = ''

  /** @param added Called when one waits to be reported. */
  constructor(settings: EndedSettings, tell: (news: News) => void, added: () => void) {
    const { metrics, accessLog, accessLogFormat, record } = settings
    this.#wanted = metrics || accessLog !== undefined || record !== undefined
    if (accessLog !== undefined) this.#line = lineFormat(accessLogFormat)
    this.#tell = tell
    this.#added = added
  }

  /** Whether any wait. */
  get waiting(): boolean {
    return this.#waiting.length > 0
  }

  /** Takes the entries of an epoch's requests; undefined if nobody wants them. */
  observerOf(link: number, epoch: number): RequestObserver | undefined {
    if (!this.#wanted) return undefined
    return (entry, recorded) => {
      if (recorded !== undefined) this.#tell({ news: 'record', line: recorded })
      const { connection: id, status, aborted, bytes, received, duration } = entry
      this.#waiting.push({ link, epoch, id, status, aborted, bytes, received, duration })
      if (this.#line !== undefined) this.#lines += `${this.#line(entry)}\n`
      this.#added()
    }
  }

  /** Hands over those that wait, and their lines. */
  take(): Pick<ReportToSend, 'ended' | 'lines'> {
    const taken = { ended: this.#waiting, lines: this.#lines }
    this.#waiting = []
    this.#lines = ''
    return taken
  }
}
