import { accessSync, constants, statSync } from 'node:fs'
import { join } from 'node:path'
import { Request } from 'zeromq'
import type { EndpointSettings } from '../options/endpoint.ts'
import { Mongrel2Error } from '../runtime/errors.ts'
import { IPC_LONGEST } from '../runtime/temporary-directory.ts'
import { MalformedError } from '../wire/malformed.ts'
import { parseTnetstring, renderTnetstring, type Tnetstring } from '../wire/tnetstring.ts'

/** Milliseconds for an answer; a suspended Mongrel2 never gives one. */
const ANSWER_TIMEOUT = 2000
const STATUS_NET = renderTnetstring(['status', new Map([['what', 'net']])])

/** Mongrel2's control port, which reports how many bytes it has written to each connection. One request at a time. */
export class ControlPort {
  readonly address: ControlPortAddress
  /** Made anew after a failure: a late answer must not be taken for that to the next request. */
  #socket: Request | undefined
  #closed = false

  constructor(address: ControlPortAddress) {
    this.address = address
  }

  /**
   * Returns the bytes written to each connection by id, counting only messages that were written completely. Throws MalformedError for a
   * malformed answer, ZeroMQ's Error without an answer in 2 seconds, Mongrel2Error `closed` after `close`.
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
function readTable(answer: Tnetstring): Map<number, number> {
  const table = answer instanceof Map ? answer : new Map<string, Tnetstring>()
  const [headers, rows] = [table.get('headers'), table.get('rows')]
  const [id, bytesWritten] = Array.isArray(headers)
    ? [headers.indexOf('id'), headers.indexOf('bytes_written')]
    : [-1, -1]
  if (id === -1 || bytesWritten === -1 || !Array.isArray(rows)) {
    const got = JSON.stringify(answer instanceof Map ? [...answer] : answer)
    throw new MalformedError(`expected a table with id and bytes_written of the control port, got ${got}`)
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

/** The address of a control port, as seen from this process. */
export interface ControlPortAddress {
  /** `ipc://PATH` or `tcp://HOST:PORT`. */
  readonly spec: string
  /** Whether the user has given it; otherwise it is Mongrel2's default in the chroot. */
  readonly named: boolean
}

/** The control port of an endpoint, if any. */
export function controlPortOf(endpoint: EndpointSettings): ControlPortAddress | undefined {
  const { controlPort, findControlPort, uploads } = endpoint
  if (controlPort !== undefined) return { spec: controlPort, named: true }
  const path = join(uploads.chroot, DEFAULT_PATH)
  if (!findControlPort || Buffer.byteLength(path) > IPC_LONGEST) return undefined
  return { spec: `ipc://${path}`, named: false }
}

/** Why a control port that the user has not given cannot be used; undefined if no problem is found. */
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
