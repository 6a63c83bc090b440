import { ControlPort, type ControlPortAddress } from '../../link/control-port.ts'

/** One control port for all slots, which takes one question at a time. */
export class SharedControlPort {
  readonly #port: ControlPort
  #answer: Promise<Map<number, number>> | undefined

  constructor(address: ControlPortAddress) {
    this.#port = new ControlPort(address)
  }

  bytesWritten(): Promise<Map<number, number>> {
    this.#answer ??= this.#port.bytesWritten().finally(() => {
      this.#answer = undefined
    })
    return this.#answer
  }

  close(): void {
    this.#port.close()
  }
}
