import * as is from '../options/option.ts'
import { Mongrel2Error } from '../runtime/errors.ts'
import type { Tnetstring } from '../wire/tnetstring.ts'
import { ANSWER_TIMEOUT, ControlClient, type ControlTable } from './control-client.ts'

/** Options of `createControl`. */
export interface ControlOptions {
  /** Milliseconds for each answer. Default: 2000. */
  timeout?: number
}

/** An option of each command. */
export interface ControlCallOptions {
  /** Gives up waiting; the command may be carried out all the same. */
  signal?: AbortSignal
}

/** What Mongrel2 says of itself. Paths are as in its configuration. */
export interface Mongrel2Info {
  /** Where clients connect. */
  port: number
  bindAddr: string
  uuid: string
  /** Empty without one. */
  chroot: string
  accessLog: string
  errorLog: string
  pidFile: string
  defaultHostname: string
}

/** A client's connection. Times are in seconds, as exact as Mongrel2's setting `limits.tick_timer`, 10 unless set. */
export interface ConnectionStatus {
  /** The number by which Handlers know it; undefined before its first request. */
  id: number | undefined
  /** The number of its file in Mongrel2. */
  fd: number
  /** `http`, `message` for JSON and XML, or `socket` for other sockets. */
  type: 'http' | 'message' | 'socket' | undefined
  /** Time since the last request, frame or keep-alive; 0 if there was none. */
  lastPing: number
  /** Time since it was read from; 0 if never. */
  lastRead: number
  /** Time since it was written to; 0 if never. */
  lastWrite: number
  bytesRead: number
  /** Of messages that were written completely. */
  bytesWritten: number
}

/** A task of Mongrel2: it has one for each connection, and some of its own. */
export interface TaskStatus {
  id: number
  /** Whether it is a part of Mongrel2's scheduler. */
  system: boolean
  /** Such as `SERVER`, `Handler_task` or `HTTP`. */
  name: string
  /** What it does, such as `read handler`. */
  state: string
  /** `running`, `ready` or `idle`. */
  status: string
}

/**
 * Steers a running Mongrel2. Every command rejects with a Mongrel2Error: `control_failed` with what Mongrel2 says if it refuses, `timeout` without
 * an answer, `closed` after `close`; or with the reason of its signal.
 */
export interface Mongrel2Control {
  /** Tells how the server is configured. */
  info(options?: ControlCallOptions): Promise<Mongrel2Info>
  /** Lists the connections of clients. It costs Mongrel2 about a microsecond for each. */
  connections(options?: ControlCallOptions): Promise<ConnectionStatus[]>
  /** Lists the tasks. */
  tasks(options?: ControlCallOptions): Promise<TaskStatus[]>
  /** Ends the connection with this number, at once. Its Handler gets no notice. Rejects with `control_failed` if there is none. */
  kill(id: number, options?: ControlCallOptions): Promise<void>
  /** Tells the time of Mongrel2's clock, in whole seconds. */
  time(options?: ControlCallOptions): Promise<Date>
  /** Tells the server's uuid. */
  uuid(options?: ControlCallOptions): Promise<string>
  /** Opens the log files anew. The configuration is not read again: that takes a restart. */
  reload(options?: ControlCallOptions): Promise<void>
  /** Ends Mongrel2 (SIGINT), which removes its pid file. Connections are cut. Resolves when the control port is closed. */
  stop(options?: ControlCallOptions): Promise<void>
  /** Kills Mongrel2 (SIGTERM). Resolves when it is gone. */
  terminate(options?: ControlCallOptions): Promise<void>
  /** Closes the control port until Mongrel2 is started again. */
  stopControl(options?: ControlCallOptions): Promise<void>
  /** Closes the connection to the control port. */
  close(): void
  /** The same, for `using`. */
  [Symbol.dispose](): void
}

const ID = is.count(undefined, [0], { required: true })
const checkControlOptions = is.checkerOf('option', 'an object of options', {
  timeout: is.milliseconds(ANSWER_TIMEOUT, 1),
} satisfies is.Described<ControlOptions>)

/** Mongrel2's numbers for them. */
const TYPES = [undefined, 'http', 'message', 'socket'] as const

/** The columns of each table, with a value of the type that each has. */
const INFO: Mongrel2Info = {
  port: 0,
  bindAddr: '',
  uuid: '',
  chroot: '',
  accessLog: '',
  errorLog: '',
  pidFile: '',
  defaultHostname: '',
}
const CONNECTION = { id: 0, fd: 0, type: 0, lastPing: 0, lastRead: 0, lastWrite: 0, bytesRead: 0, bytesWritten: 0 }
const TASK: TaskStatus = { id: 0, system: false, name: '', state: '', status: '' }

/**
 * Connects to Mongrel2's control port, `run/control` in its chroot unless its configuration names another.
 *
 * @param spec `ipc://PATH` or `tcp://HOST:PORT`.
 * @throws {Mongrel2Error} `invalid_option` for another address or a wrong option.
 * @example
 * ```ts
 * import { createControl } from 'mongrel2-fetch/mongrel2'
 *
 * const control = createControl('ipc:///srv/mongrel2/run/control')
 * for (const { id, bytesWritten } of await control.connections()) console.log(id, bytesWritten)
 * control.close()
 * ```
 */
export function createControl(spec: string, options: ControlOptions = {}): Mongrel2Control {
  const { timeout } = checkControlOptions(options)
  const client = new ControlClient(is.SPEC.check('spec', spec), timeout)
  const one = async <T extends object>(command: string, sample: T, signal: AbortSignal | undefined): Promise<T> => {
    const [row] = recordsIn(await client.ask(command, {}, signal), sample)
    if (row === undefined)
      throw new Mongrel2Error('control_failed', `expected a row in the answer to ${command}, got none`)
    return row
  }
  return {
    info: ({ signal } = {}) => one('info', INFO, signal),
    async connections({ signal } = {}) {
      const rows = recordsIn(await client.ask('status', { what: 'net' }, signal), CONNECTION)
      return rows.map((row) => ({ ...row, id: row.id < 0 ? undefined : row.id, type: TYPES[row.type] }))
    },
    tasks: async ({ signal } = {}) => recordsIn(await client.ask('status', { what: 'tasks' }, signal), TASK),
    async kill(id, { signal } = {}) {
      await client.ask('kill', { id: ID.check('id', id) }, signal)
    },
    time: async ({ signal } = {}) => new Date(Number((await one('time', { time: '' }, signal)).time) * 1000),
    uuid: async ({ signal } = {}) => (await one('uuid', { uuid: '' }, signal)).uuid,
    async reload({ signal } = {}) {
      await client.ask('reload', {}, signal)
    },
    stop: ({ signal } = {}) => client.end('stop', signal),
    terminate: ({ signal } = {}) => client.end('terminate', signal),
    stopControl: ({ signal } = {}) => client.end('control_stop', signal),
    close: () => client.close(),
    [Symbol.dispose]: () => client.close(),
  }
}

/** The rows of a table as objects with the keys of a sample; Mongrel2 writes them in snake case. */
function recordsIn<T extends object>({ headers, rows }: ControlTable, sample: T): T[] {
  const columns = Object.entries(sample).map(([key, value]) => {
    const column = key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
    return { key, column, at: headers.indexOf(column), type: typeof value }
  })
  return rows.map((row) => {
    const entries = columns.map(({ key, column, at, type }): [string, Tnetstring | undefined] => {
      if (typeof row[at] !== type)
        throw new Mongrel2Error(
          'control_failed',
          `expected a ${type} as ${column} from the control port, got ${row[at]}`,
        )
      return [key, row[at]]
    })
    return Object.fromEntries(entries) as T
  })
}
