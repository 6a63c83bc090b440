import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { v4 } from 'uuid'
import { type Mongrel2Options, optionsForOneOf } from '../../exchange/options.ts'
import type { ZmtpConnection } from '../../link/zmtp/connection.ts'
import { LOG_LEVELS, type Logger } from '../../runtime/log.ts'
import { moduleBeside } from '../../runtime/module-beside.ts'
import { guardChild } from '../../runtime/orphan-guard.ts'
import { renderMultipart } from '../../wire/zmtp/frame.ts'
import type { WorkerHandle, WorkerHandleObserver } from '../protocol/worker-handle.ts'
import { WORKER_VARIABLE, type WorkerConfig } from '../worker/config.ts'
import type { ExchangePoint } from './exchange-point.ts'

const ENTRY = fileURLToPath(moduleBeside(import.meta.url, '../worker/process'))
/** How long a worker may take to end once it has closed its sockets, in milliseconds: told to, and otherwise. */
const EXIT_TIME = 2000
const LOSS_TIME = 500

/** What a worker process is started with, but for its sockets. */
export type WorkerStart = Omit<WorkerConfig, 'parent' | 'identity' | 'dealSpec' | 'reportSpec'>

/**
 * What of a server's options is for every worker, wherever it runs: what JSON can carry, and what is logged.
 *
 * @param workers Worker processes on a machine, which share its part of Mongrel2's memory.
 */
export function sharedStartOf(
  { logger: _logger, signal: _signal, identity: _identity, ...options }: Mongrel2Options,
  workers: number,
  threads: number,
  logger: Logger,
): Pick<WorkerStart, 'options' | 'threads' | 'logLevels'> {
  return {
    options: optionsForOneOf(workers * threads, options),
    threads,
    logLevels: LOG_LEVELS.filter((level) => logger[level] !== undefined),
  }
}

/** A worker process of this machine, which connects to the exchange point. */
export class ChildWorker implements WorkerHandle {
  readonly #observer: WorkerHandleObserver
  readonly #child: ChildProcess
  #dealer: ZmtpConnection | undefined
  #exitTimer: NodeJS.Timeout | undefined
  #exited: string | undefined
  #reportsClosed = true
  #endExpected = false
  #lost = false

  constructor(start: WorkerStart, execArgv: readonly string[], point: ExchangePoint, observer: WorkerHandleObserver) {
    this.#observer = observer
    const identity = v4()
    point.expect(identity, {
      receive: (frame) => observer.receive(frame),
      dealerOpened: (connection) => {
        this.#dealer = connection
        void connection.closed.then(() => this.#disconnected())
      },
      reportsOpened: (connection) => {
        this.#reportsClosed = false
        void connection.closed.then(() => {
          this.#reportsClosed = true
          this.#disconnected()
          this.#endIfGone()
        })
      },
    })
    const { dealSpec, reportSpec } = point
    const config: WorkerConfig = { ...start, parent: process.pid, identity, dealSpec, reportSpec }
    this.#child = spawn(process.execPath, [...execArgv, ENTRY], {
      stdio: ['ignore', 'inherit', 'inherit'],
      env: { ...process.env, [WORKER_VARIABLE]: JSON.stringify(config) },
    })
    guardChild(this.#child, 'late')
    this.#child.on('error', (error) => this.#exit(point, identity, `it could not be started: ${error.message}`))
    this.#child.on('exit', (code, signal) =>
      this.#exit(point, identity, signal === null ? `it exited with code ${code}` : `it was ended by ${signal}`),
    )
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  send(frames: readonly Buffer[]): void {
    this.#dealer?.write(renderMultipart(frames))
  }

  expectEnd(): void {
    this.#endExpected = true
  }

  kill(): void {
    this.#child.kill('SIGKILL')
  }

  /** One that we do not hear any more could still publish: it has to end. */
  #disconnected(): void {
    if (this.#exited !== undefined) return
    this.#exitTimer ??= setTimeout(() => this.#giveUp(), this.#endExpected ? EXIT_TIME : LOSS_TIME)
  }

  #giveUp(): void {
    this.#lost = true
    this.kill()
  }

  #exit(point: ExchangePoint, identity: string, how: string): void {
    if (this.#exited !== undefined) return
    this.#exited = this.#lost ? 'it closed its sockets' : how
    clearTimeout(this.#exitTimer)
    // Handshakes that it has not come to the end of are of no interest, but connections that it has are read to their end.
    if (this.#reportsClosed) point.forget(identity)
    this.#endIfGone()
  }

  #endIfGone(): void {
    if (this.#exited === undefined || !this.#reportsClosed) return
    this.#observer.ended(this.#exited, this.#child.exitCode === 0)
  }
}
