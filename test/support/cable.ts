import { once } from 'node:events'
import { type AddressInfo, createConnection, createServer, type Server, type Socket } from 'node:net'

/** A line to a port of this machine that can be cut and mended: while it is cut nothing goes through, and nobody is told. */
export class Cable implements AsyncDisposable {
  readonly #server: Server
  readonly #pairs = new Set<readonly [Socket, Socket]>()
  #cut = false

  private constructor(target: number) {
    this.#server = createServer((near) => this.#join(near, createConnection(target, '127.0.0.1')))
  }

  static async open(target: number): Promise<Cable> {
    const cable = new Cable(target)
    cable.#server.listen(0, '127.0.0.1')
    await once(cable.#server, 'listening')
    return cable
  }

  /** Where its near end is. */
  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  cut(): void {
    this.#cut = true
    for (const end of [...this.#pairs].flat()) end.pause()
  }

  /** What was written meanwhile arrives, and who is gone is found to be. */
  mend(): void {
    this.#cut = false
    for (const pair of this.#pairs) {
      for (const end of pair) end.resume()
      this.#endTogether(pair)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const end of [...this.#pairs].flat()) end.destroy()
    this.#server.close()
    await once(this.#server, 'close')
  }

  #join(near: Socket, far: Socket): void {
    const pair = [near, far] as const
    this.#pairs.add(pair)
    for (const [from, to] of [pair, [far, near]] as const) {
      from.on('error', () => {})
      from.on('data', (bytes) => to.write(bytes))
      from.on('close', () => this.#endTogether(pair))
      if (this.#cut) from.pause()
    }
  }

  #endTogether(pair: readonly [Socket, Socket]): void {
    if (this.#cut || !pair.some(({ destroyed }) => destroyed)) return
    this.#pairs.delete(pair)
    for (const end of pair) end.destroy()
  }
}
