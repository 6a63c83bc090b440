import type { Settings } from '../../exchange/options.ts'
import { onLinkEvent } from '../../operations/channels.ts'
import { EventLoopDelay } from '../../operations/event-loop.ts'
import { figuresOf } from '../../operations/figures.ts'
import { lineFormat } from '../../operations/line-format.ts'
import type { RequestSink } from '../../operations/request-entry.ts'
import type { ServerState } from '../../operations/server-state.ts'
import type { FramePipe } from '../../workers/protocol/frame-pipe.ts'
import { type EndedRequest, type News, renderJson, renderReport } from '../../workers/protocol/frames.ts'
import { endedRequest } from '../../workers/worker/worker-server.ts'

/** What a process of `serve --direct` reports to its parent: its ended requests, its links and its figures. */
export class DirectReports {
  readonly #pipe: FramePipe
  #ended: EndedRequest[] = []
  #turn: NodeJS.Immediate | undefined
  #inFlight = 0
  #delay: EventLoopDelay | undefined

  constructor(pipe: FramePipe) {
    this.#pipe = pipe
  }

  /** Where its server's entries go; its links are reported from now on. */
  sinkFor({ metrics, accessLog, accessLogFormat, record, endpoints }: Settings): RequestSink {
    if (metrics) this.#delay = new EventLoopDelay()
    onLinkEvent(({ event, recvSpec }) => {
      const link = endpoints.findIndex((endpoint) => endpoint.recvSpec === recvSpec)
      this.#tell({ news: event === 'attached' ? 'attached' : 'detached', link, epoch: 0 })
    })
    const line = accessLog === undefined ? undefined : lineFormat(accessLogFormat)
    const observer: RequestSink['observer'] = (entry, recorded) => {
      if (recorded !== undefined) this.#tell({ news: 'record', line: recorded })
      this.#ended.push(endedRequest(entry, 0, 0, line))
      this.#turn ??= setImmediate(() => this.#report())
    }
    const observes = metrics || line !== undefined || record !== undefined
    return { observer: observes ? observer : undefined, close: async () => this.#report() }
  }

  /** Tells the state of its server. */
  tell(state: ServerState): void {
    this.#inFlight = state.inFlight
    this.#report()
    const rss = process.memoryUsage.rss()
    const eventLoopDelay = this.#delay?.take() ?? 0
    this.#tell({ news: 'alive', thread: 0, rss, figures: figuresOf(state), eventLoopDelay })
  }

  #report(): void {
    clearImmediate(this.#turn)
    this.#turn = undefined
    const ended = this.#ended
    this.#ended = []
    this.#pipe.send([renderReport({ thread: 0, seen: 0, inFlight: this.#inFlight, records: [], ended })])
  }

  #tell(news: News): void {
    this.#pipe.send([renderJson(news)])
  }
}
