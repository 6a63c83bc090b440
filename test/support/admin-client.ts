import { request } from 'node:http'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'

/** A client of an admin address. */
export class AdminClient {
  readonly #place: { readonly socketPath: string } | { readonly port: number }

  /** @param place A port, or the path of a socket. */
  constructor(place: number | string) {
    this.#place = typeof place === 'number' ? { port: place } : { socketPath: place }
  }

  /** Resolves with the status and the text of an answer. */
  ask(path: string, headers: Record<string, string> = {}, method = 'GET'): Promise<[status: number, text: string]> {
    return new Promise((resolve, reject) => {
      const options = { ...this.#place, host: '127.0.0.1', path, headers, method, agent: false }
      const asked = request(options, (response) => {
        text(response).then((body) => resolve([response.statusCode ?? 0, body]), reject)
      })
      asked.on('error', reject)
      asked.end()
    })
  }
}

/** Asks an admin address ten times a second whether the server is ready. */
export class ReadinessWatch implements AsyncDisposable {
  /** The answers, each once while they stay the same: `ready`, the obstacles, or `none` where nobody listens. */
  readonly answers: string[] = []
  readonly #client: AdminClient
  readonly #ended: Promise<void>
  #stopped = false

  constructor(client: AdminClient) {
    this.#client = client
    this.#ended = this.#run()
  }

  /** Waits until the last answer is this. */
  async is(answer: string | RegExp): Promise<void> {
    await expect.poll(() => this.answers.at(-1)).toMatch(answer)
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      const answer = await this.#client.ask('/readyz').then(
        ([status, body]) => (status === (body === 'ready\n' ? 200 : 503) ? body.trim() : `${status} ${body}`),
        () => 'none',
      )
      if (answer !== this.answers.at(-1)) this.answers.push(answer)
      await sleep(100)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true
    await this.#ended
  }
}
