import { join } from 'node:path'
import { ControlClient } from '../mongrel2/control-client.ts'
import type { EndpointSettings } from '../options/endpoint.ts'
import { Mongrel2Error } from '../runtime/errors.ts'
import { fs } from '../runtime/process/node-fs.ts'
import { IPC_LONGEST } from '../runtime/process/temporary-directory.ts'

const { accessSync, constants, statSync } = fs

/** The part of Mongrel2's control port that pacing uses: how many bytes it has written to each connection. */
export class ControlPort {
  readonly address: ControlPortAddress
  readonly #client: ControlClient

  constructor(address: ControlPortAddress) {
    this.address = address
    this.#client = new ControlClient(address.spec)
  }

  /** Returns the bytes written to each connection by id, counting only messages that were written completely. Throws as `ControlClient.ask`. */
  async bytesWritten(): Promise<Map<number, number>> {
    const { headers, rows } = await this.#client.ask('status', { what: 'net' })
    const [id, bytesWritten] = [headers.indexOf('id'), headers.indexOf('bytes_written')]
    if (id === -1 || bytesWritten === -1)
      throw new Mongrel2Error('control_failed', `expected columns id and bytes_written, got ${headers}`)
    const written = new Map<number, number>()
    for (const row of rows) {
      const [key, value] = [row[id], row[bytesWritten]]
      if (typeof key === 'number' && typeof value === 'number') written.set(key, value)
    }
    return written
  }

  close(): void {
    this.#client.close()
  }
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
