import { Request } from 'zeromq'
import { Mongrel2Error } from '../errors.ts'
import { MalformedError } from '../wire/malformed.ts'
import { parseTnetstring, renderTnetstring, type Tnetstring } from '../wire/tnetstring.ts'
import type { ControlPortAddress } from './control-port-address.ts'

/** How long an answer may take, in milliseconds; a Mongrel2 that was stopped never gives one. */
const ANSWER_TIMEOUT = 2000

const STATUS_NET = renderTnetstring(['status', new Map([['what', 'net']])])

/** Mongrel2's control port, which tells how many bytes it has written to each connection. One question at a time. */
export class ControlPort {
  readonly address: ControlPortAddress
  /** Made anew after a failure, so that an answer that comes late is none to the next question. */
  #socket: Request | undefined
  #closed = false

  /** @param address Mongrel2's `control_port`, as seen from here. */
  constructor(address: ControlPortAddress) {
    this.address = address
  }

  /**
   * Asks how many bytes were written to each connection, by its number. A message counts when it has been written whole.
   *
   * @throws MalformedError when the answer is none; Error of ZeroMQ's when none comes within 2 seconds; Mongrel2Error `closed` when the
   *   port was closed.
   */
  async bytesWritten(): Promise<Map<number, number>> {
    if (this.#closed) throw new Mongrel2Error('closed', 'the control port was closed')
    this.#socket ??= this.#connect()
    try {
      await this.#socket.send(STATUS_NET)
      const [answer] = await this.#socket.receive()
      if (answer === undefined) throw new MalformedError('expected an answer of the control port, got nothing')
      return readTable(parseTnetstring(answer))
    } catch (error) {
      this.#disconnect()
      throw error
    }
  }

  close(): void {
    this.#closed = true
    this.#disconnect()
  }

  #connect(): Request {
    const { spec } = this.address
    const ipv6 = spec.startsWith('tcp://[')
    const socket = new Request({ linger: 0, ipv6, receiveTimeout: ANSWER_TIMEOUT, sendTimeout: ANSWER_TIMEOUT })
    socket.connect(spec)
    return socket
  }

  #disconnect(): void {
    this.#socket?.close()
    this.#socket = undefined
  }
}

/** Reads the columns `id` and `bytes_written` of a table `{headers: [...], rows: [[...], ...]}`. */
export function readTable(answer: Tnetstring): Map<number, number> {
  const headers = answer instanceof Map ? answer.get('headers') : undefined
  const rows = answer instanceof Map ? answer.get('rows') : undefined
  const id = Array.isArray(headers) ? headers.indexOf('id') : -1
  const bytesWritten = Array.isArray(headers) ? headers.indexOf('bytes_written') : -1
  if (id === -1 || bytesWritten === -1 || !Array.isArray(rows)) {
    throw new MalformedError(
      `expected a table with id and bytes_written of the control port, got ${JSON.stringify(answer instanceof Map ? [...answer] : answer)}`,
    )
  }
  const written = new Map<number, number>()
  for (const row of rows) {
    if (!Array.isArray(row)) continue
    const [key, value] = [row[id], row[bytesWritten]]
    if (typeof key === 'number' && typeof value === 'number') written.set(key, value)
  }
  return written
}
