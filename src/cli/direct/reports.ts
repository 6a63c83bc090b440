import type { Settings } from '../../exchange/options.ts'
import { onLinkEvent } from '../../operations/channels.ts'
import { EventLoopDelay } from '../../operations/event-loop.ts'
import { figuresOf } from '../../operations/figures.ts'
import type { RequestSink } from '../../operations/request-entry.ts'
import type { ServerState } from '../../operations/server-state.ts'
import type { FramePipe } from '../../workers/protocol/frame-pipe.ts'
import { type News, renderJson, renderReport } from '../../workers/protocol/frames.ts'
import { EndedRequests } from '../../workers/worker/ended-requests.ts'

/** What a process of `serve --direct` reports to its parent: its ended requests, its links and its figures. */
export class DirectReports {
  readonly #pipe: FramePipe
  #ended: EndedRequests | undefined
  #turn: NodeJS.Immediate | undefined
  #inFlight = 0
  #delay: EventLoopDelay | undefined

  constructor(pipe: FramePipe) {
    this.#pipe = pipe
  }

  /** Where its server's entries go; its links are reported from now on. */
  sinkFor(settings: Settings): RequestSink {
    const { metrics, endpoints } = settings
    if (metrics) this.#delay = new EventLoopDelay()
    onLinkEvent(({ event, recvSpec }) => {
      const link = endpoints.findIndex((endpoint) => endpoint.recvSpec === recvSpec)
      this.#tell({ news: event === 'attached' ? 'attached' : 'detached', link, epoch: 0 })
    })
    this.#ended = new EndedRequests(
      settings,
      (news) => this.#tell(news),
      () => {
        this.#turn ??= setImmediate(() => this.#report())
      },
    )
    return { observer: this.#ended.observerOf(0, 0), close: async () => this.#report() }
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
    const ended = this.#ended?.take() ?? { ended: [], lines: '' }
    this.#pipe.send([renderReport({ thread: 0, seen: 0, inFlight: this.#inFlight, records: [], ...ended })])
  }

  #tell(news: News): void {
    this.#pipe.send([renderJson(news)])
  }
}
