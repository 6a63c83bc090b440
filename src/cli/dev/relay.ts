import { join } from 'node:path'
import { Pull, Push } from 'zeromq'
import { type Deferred, deferred } from '../../deferred.ts'

/**
 * Pulls from Mongrel2 for an app that is replaced: one that pulls itself loses on leaving what Mongrel2 deals to it in that
 * moment. Answers go to Mongrel2 directly. Messages wait here while there is no app.
 */
export class Relay implements Disposable {
  readonly #endpoints: readonly string[]
  readonly #directory: string
  readonly #pulls: Pull[] = []
  #lanes = 0
  #lane: Lane | undefined
  #switched: Deferred<void> = deferred()

  /**
   * @param endpoints Each `SEND_SPEC,RECV_SPEC[,CONTROL_PORT]`.
   * @param directory Where its sockets are made.
   */
  constructor(endpoints: readonly string[], directory: string) {
    this.#endpoints = endpoints
    this.#directory = directory
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
      const pull = new Pull()
      this.#pulls.push(pull)
      pull.connect(endpoint.split(',')[0] ?? '')
      this.#forward(pull, at).catch((error: unknown) => {
        if (!pull.closed) throw error
      })
    }
  }

  /** Lets messages wait if they went this way until now. */
  interrupt(lane: Lane): void {
    if (this.#lane !== lane) return
    this.#lane = undefined
    this.#switched = deferred()
  }

  [Symbol.dispose](): void {
    for (const pull of this.#pulls) pull.close()
  }

  async #forward(pull: Pull, at: number): Promise<void> {
    for await (const parts of pull) {
      for (const part of parts) {
        while (this.#lane === undefined) await this.#switched.promise
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

  /** To be called when the app has ended. */
  close(): void {
    for (const push of this.#pushes) push.close()
  }
}
