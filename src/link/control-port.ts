import { accessSync, constants, statSync } from 'node:fs'
import { join } from 'node:path'
import { Request } from 'zeromq'
import type { EndpointSettings } from '../options/endpoint.ts'
import { Mongrel2Error } from '../runtime/errors.ts'
import { IPC_LONGEST } from '../runtime/temporary-directory.ts'
import { MalformedError } from '../wire/malformed.ts'
import { parseTnetstring, renderTnetstring, type Tnetstring } from '../wire/tnetstring.ts'

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
   * Asks how many bytes were written to each connection, by its number. A message counts when it has been written whole. Throws MalformedError
   * when the answer is none; ZeroMQ's Error when none comes within 2 seconds; Mongrel2Error `closed` when the port was closed.
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

/** Mongrel2's default `control_port`, in its chroot. */
const DEFAULT_PATH = 'run/control'

/** Where a control port may be asked. */
export interface ControlPortAddress {
  /** `ipc://PATH` or `tcp://HOST:PORT`. */
  readonly spec: string
  /** Whether the user has named it. Otherwise it is where a Mongrel2 with that chroot has it by default. */
  readonly named: boolean
}

/** The control port to use for an endpoint, if any. */
export function controlPortOf({
  controlPort,
  findControlPort,
  uploads,
}: Pick<EndpointSettings, 'controlPort' | 'findControlPort' | 'uploads'>): ControlPortAddress | undefined {
  if (controlPort !== undefined) return { spec: controlPort, named: true }
  const path = join(uploads.chroot, DEFAULT_PATH)
  if (!findControlPort || Buffer.byteLength(path) > IPC_LONGEST) return undefined
  return { spec: `ipc://${path}`, named: false }
}

/** Says why a control port that the user has not named cannot be asked; undefined where nothing is wrong as far as can be seen. */
export function controlPortProblem({ spec, named }: ControlPortAddress): string | undefined {
  if (named) return undefined
  const path = spec.slice('ipc://'.length)
  try {
    if (!statSync(path).isSocket()) return 'it is no socket'
    accessSync(path, constants.W_OK)
    return undefined
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    return code === 'EACCES' ? 'permission denied' : 'it is not there'
  }
}
