import type { Request } from 'zeromq'
import { Mongrel2Error } from '../runtime/errors.ts'
import { libzmq } from '../runtime/process/libzmq.ts'
import { delay } from '../runtime/promises.ts'
import { parseTnetstring, renderTnetstring, type Tnetstring } from '../wire/tnetstring.ts'

/** Milliseconds for an answer; a suspended Mongrel2 never gives one. */
export const ANSWER_TIMEOUT = 2000

/** A table that Mongrel2's control port answers with. */
export interface ControlTable {
  readonly headers: readonly Tnetstring[]
  readonly rows: readonly (readonly Tnetstring[])[]
}

/** Asks Mongrel2's control port, one command at a time. */
export class ControlClient {
  readonly #spec: string
  readonly #timeout: number
  /** Made anew after a failure: a late answer must not be taken for that to the next command. */
  #socket: Request | undefined
  #closed = false
  /** Settles when the commands before have. */
  #before: Promise<unknown> = Promise.resolve()

  /**
   * @param spec `ipc://PATH` or `tcp://HOST:PORT`.
   * @param timeout Milliseconds for an answer.
   */
  constructor(spec: string, timeout: number = ANSWER_TIMEOUT) {
    this.#spec = spec
    this.#timeout = timeout
  }

  /**
   * Sends a command and returns the answer. Throws Mongrel2Error: `control_failed` with what Mongrel2 says if it refuses the command, or if the
   * answer is no table, `timeout` without an answer, `closed` after `close`; or the reason of the signal.
   */
  ask(
    command: string,
    parameters: Readonly<Record<string, string | number>> = {},
    signal?: AbortSignal,
  ): Promise<ControlTable> {
    const message = renderTnetstring([command, new Map(Object.entries(parameters))])
    return this.#inTurn(signal, async (socket) => {
      await socket.send(message)
      const [answer] = await socket.receive()
      return this.#tableIn(answer, command)
    })
  }

  /** Sends a command that ends Mongrel2; resolves when it has closed the connection, with or without an answer. Throws as `ask`. */
  end(command: string, signal?: AbortSignal): Promise<void> {
    return this.#inTurn(signal, async (socket) => {
      const ended = new Promise<void>((resolve) => {
        socket.events.on('disconnect', () => resolve())
      })
      await socket.send(renderTnetstring([command, new Map()]))
      const answered = socket.receive().then(([answer]) => this.#tableIn(answer, command))
      answered.catch(() => {}) // the connection may end first
      const late = delay(this.#timeout).then(() => {
        throw this.#timedOut()
      })
      await Promise.race([ended, answered.then(() => ended), late])
      this.#disconnect()
    })
  }

  close(): void {
    this.#closed = true
    this.#disconnect()
  }

  #inTurn<T>(signal: AbortSignal | undefined, run: (socket: Request) => Promise<T>): Promise<T> {
    const result = this.#before.then(() => this.#run(signal, run))
    this.#before = result.catch(() => {})
    return result
  }

  async #run<T>(signal: AbortSignal | undefined, run: (socket: Request) => Promise<T>): Promise<T> {
    this.#failIfEnded(signal)
    const abort = () => this.#disconnect()
    signal?.addEventListener('abort', abort)
    this.#socket ??= this.#connect()
    try {
      return await run(this.#socket)
    } catch (error) {
      this.#disconnect()
      this.#failIfEnded(signal)
      throw (error as NodeJS.ErrnoException).code === 'EAGAIN' ? this.#timedOut() : error
    } finally {
      signal?.removeEventListener('abort', abort)
    }
  }

  /** Reads an answer: `{headers: [...], rows: [[...], ...]}`, or `{code, error}` for a refusal, whose code may be missing. */
  #tableIn(bytes: Buffer | undefined, command: string): ControlTable {
    const answer = parsed(bytes)
    const table = answer instanceof Map ? answer : new Map<string, Tnetstring>()
    const [headers, rows, error, code] = ['headers', 'rows', 'error', 'code'].map((key) => table.get(key))
    if (typeof error === 'string') {
      const refusal = typeof code === 'string' ? `${error} (${code})` : error
      throw new Mongrel2Error('control_failed', `Mongrel2 at ${this.#spec} refused ${command}: ${refusal}`)
    }
    if (Array.isArray(headers) && Array.isArray(rows) && rows.every(Array.isArray))
      return { headers, rows } as ControlTable
    const got = JSON.stringify(answer instanceof Map ? [...answer] : answer)
    throw new Mongrel2Error('control_failed', `expected a table from the control port at ${this.#spec}, got ${got}`)
  }

  #failIfEnded(signal: AbortSignal | undefined): void {
    signal?.throwIfAborted()
    if (this.#closed) throw new Mongrel2Error('closed', 'the control port was closed')
  }

  #timedOut(): Mongrel2Error {
    const question = 'is Mongrel2 running, and is this its control_port?'
    return new Mongrel2Error('timeout', `no answer from ${this.#spec} within ${this.#timeout} ms: ${question}`)
  }

  #connect(): Request {
    const ipv6 = this.#spec.startsWith('tcp://[')
    const socket = new (libzmq().Request)({
      linger: 0,
      ipv6,
      receiveTimeout: this.#timeout,
      sendTimeout: this.#timeout,
    })
    socket.connect(this.#spec)
    return socket
  }

  #disconnect(): void {
    this.#socket?.close()
    this.#socket = undefined
  }
}

/** An answer's value; the text of one that is no tnetstring. */
function parsed(bytes: Buffer = Buffer.alloc(0)): Tnetstring {
  try {
    return parseTnetstring(bytes)
  } catch {
    return bytes.toString('latin1')
  }
}
