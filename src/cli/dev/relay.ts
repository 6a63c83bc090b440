import { join } from 'node:path'
import { Pull, Push } from 'zeromq'
import type { Logger } from '../../runtime/log.ts'
import { type Deferred, deferred } from '../../runtime/promises.ts'
import { RelayedClients } from './relayed-clients.ts'

/**
 * Pulls from Mongrel2 for an app that is replaced: one that pulls itself loses on leaving what Mongrel2 deals to it in that
 * moment. Answers go to Mongrel2 directly. Messages wait here while there is no app.
 */
export class Relay implements Disposable {
  readonly #endpoints: readonly string[]
  readonly #directory: string
  readonly #logger: Logger
  readonly #pulls: Pull[] = []
  readonly #clients: RelayedClients[] = []
  #lanes = 0
  #lane: Lane | undefined
  #switched: Deferred<void> = deferred()

  /**
   * @param endpoints Each `SEND_SPEC,RECV_SPEC[,CONTROL_PORT]`.
   * @param directory Where its sockets are made.
   */
  constructor(endpoints: readonly string[], directory: string, logger: Logger) {
    this.#endpoints = endpoints
    this.#directory = directory
    this.#logger = logger
  }

  /** Makes a lane for the next life of the app; nothing goes there yet. */
  async open(): Promise<Lane> {
    const life = ++this.#lanes
    const endpoints = this.#endpoints.map((endpoint, at) => {
      const [, ...rest] = endpoint.split(',')
      return [`ipc://${join(this.#directory, `app-${life}-${at}`)}`, ...rest].join(',')
    })
    return await Lane.open(endpoints)
  }

  /**
   * From now on messages go this way.
   *
   * @param lane Of an app that can answer: nothing is pulled before the first.
   */
  switchTo(lane: Lane): void {
    this.#lane = lane
    this.#switched.resolve()
    if (this.#pulls.length > 0) return
    for (const [at, endpoint] of this.#endpoints.entries()) {
      const [sendSpec = '', recvSpec = ''] = endpoint.split(',')
      const pull = new Pull()
      const clients = new RelayedClients(recvSpec, this.#logger)
      this.#pulls.push(pull)
      this.#clients.push(clients)
      pull.connect(sendSpec)
      this.#forward(pull, at, clients).catch((error: unknown) => {
        if (!pull.closed) throw error
      })
    }
  }

  /**
   * The app of a lane has ended. If messages went this way until now, they wait.
   *
   * @param answered Whether it had answered all it got; otherwise those who may wait for it are told that they need not.
   */
  end(lane: Lane, answered: boolean): void {
    lane.close()
    for (const clients of this.#clients) {
      if (answered) clients.release(lane)
      else clients.end(lane)
    }
    if (this.#lane !== lane) return
    this.#lane = undefined
    this.#switched = deferred()
  }

  [Symbol.dispose](): void {
    for (const pull of this.#pulls) pull.close()
    for (const clients of this.#clients) clients[Symbol.dispose]()
  }

  async #forward(pull: Pull, at: number, clients: RelayedClients): Promise<void> {
    for await (const parts of pull) {
      for (const part of parts) {
        while (this.#lane === undefined) await this.#switched.promise
        clients.follow(part, this.#lane)
        await this.#lane.send(at, part)
      }
    }
  }
}

/** What one life of the app pulls from. */
export class Lane {
  /** What it serves, as `zeromq` takes it. */
  readonly endpoints: readonly string[]
  #sent = 0
  readonly #pushes: readonly Push[]

  private constructor(endpoints: readonly string[], pushes: readonly Push[]) {
    this.endpoints = endpoints
    this.#pushes = pushes
  }

  static async open(endpoints: readonly string[]): Promise<Lane> {
    const pushes = endpoints.map(() => new Push({ linger: 0 }))
    await Promise.all(pushes.map((push, at) => push.bind(endpoints[at]?.split(',')[0] ?? '')))
    return new Lane(endpoints, pushes)
  }

  /** How many messages went this way. */
  get sent(): number {
    return this.#sent
  }

  async send(at: number, message: Buffer): Promise<void> {
    this.#sent++
    try {
      await this.#pushes[at]?.send(message)
    } catch {
      // The lane was closed: the app is dead, and this message with it.
    }
  }

  close(): void {
    for (const push of this.#pushes) push.close()
  }
}
