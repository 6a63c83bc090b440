import type { ChildProcess } from 'node:child_process'
import { Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { type Mongrel2Options, optionsForOneOf } from '../../exchange/options.ts'
import { LOG_LEVELS, type Logger, messageOf } from '../../runtime/log.ts'
import { guardChild } from '../../runtime/process/orphan-guard.ts'
import { ownModule } from '../../runtime/process/own-modules.ts'
import { FramePipe } from '../protocol/frame-pipe.ts'
import { ORDERS_FD, REPORTS_FD } from '../protocol/frames.ts'
import type { WorkerHandle, WorkerHandleObserver, WorkerHost } from '../protocol/worker-handle.ts'
import { WATCH_ENVIRONMENT } from '../worker/parent.ts'
import { CONFIG_VARIABLE, type WorkerConfig } from '../worker/worker-config.ts'

/** Time for a child to exit after it has closed its pipe, in milliseconds: if it was told to end, and if not. */
const EXIT_TIME = 2000
const LOSS_TIME = 500

/** How a child is started. */
interface ChildStart {
  /** The module that it runs. */
  readonly entry: URL
  /** What `takeConfig` returns in it; it has to survive JSON. */
  readonly config: object
  /** Arguments for Node. */
  readonly execArgv: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

export function workerStart(config: WorkerConfig, execArgv: readonly string[]): ChildStart {
  const entry = ownModule('workers/worker/process')
  return { entry, config, execArgv, env: config.watched === true ? WATCH_ENVIRONMENT : {} }
}

/** A worker's start on any machine, without options that JSON cannot carry; `workers` share the machine's memory. */
export function sharedStartOf(
  { logger: _logger, signal: _signal, identity: _identity, ...options }: Mongrel2Options,
  workers: number,
  threads: number,
  logger: Logger,
): Pick<WorkerConfig, 'options' | 'threads' | 'logLevels'> {
  return {
    options: optionsForOneOf(workers * threads, options),
    threads,
    logLevels: LOG_LEVELS.filter((level) => logger[level] !== undefined),
  }
}

/** This machine, where workers are children of this process. */
export function localHost(start: ChildStart): WorkerHost {
  const endpoints = Number.POSITIVE_INFINITY
  return { name: '', seesUploads: true, endpoints, start: (observer) => new WorkerChild(start, observer) }
}

/** A child process that exchanges frames by two pipes, which the system closes when either process ends. */
export class WorkerChild implements WorkerHandle {
  readonly #observer: WorkerHandleObserver
  readonly #child: ChildProcess
  readonly #pipe: FramePipe | undefined
  #exitTimer: NodeJS.Timeout | undefined
  #endExpected = false
  #ended = false
  /** Why it was killed here. */
  #killReason: string | undefined

  constructor({ entry, config, execArgv, env }: ChildStart, observer: WorkerHandleObserver) {
    this.#observer = observer
    const { spawn } = process.getBuiltinModule('node:child_process')
    const child = spawn(process.execPath, [...execArgv, fileURLToPath(entry)], {
      stdio: ['ignore', 'inherit', 'inherit', 'pipe', 'pipe'],
      env: { ...process.env, ...env, [CONFIG_VARIABLE]: JSON.stringify(config) },
    })
    this.#child = child
    guardChild(child, 'late')
    this.#pipe = this.#openPipe()
    child.on('error', (error) => {
      if (child.pid === undefined) this.#end(`it could not be started: ${error.message}`)
    })
    child.on('exit', () => clearTimeout(this.#exitTimer))
    // `close` comes after the end of the process and of its pipes.
    child.on('close', (code, signal) =>
      this.#end(signal === null ? `it exited with code ${code}` : `it was ended by ${signal}`),
    )
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  send(frames: readonly Buffer[]): void {
    this.#pipe?.send(frames)
  }

  expectEnd(): void {
    this.#endExpected = true
  }

  kill(): void {
    this.#child.kill('SIGKILL')
  }

  /** Undefined if no file descriptors are left: then the child emits an error. */
  #openPipe(): FramePipe | undefined {
    const stdio = this.#child.stdio ?? []
    const [orders, reports] = [stdio[ORDERS_FD], stdio[REPORTS_FD]]
    if (!(orders instanceof Socket && reports instanceof Socket)) return undefined
    const pipe = new FramePipe(
      reports,
      orders,
      (frame) => this.#observer.receive(frame),
      (error) => this.#giveUp(`it reported something wrong: ${messageOf(error)}`),
    )
    void pipe.closed.then(() => this.#closed())
    return pipe
  }

  /** Kills a child that closed its pipe and does not exit: it could still publish. */
  #closed(): void {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const time = this.#endExpected ? EXIT_TIME : LOSS_TIME
    this.#exitTimer = setTimeout(() => this.#giveUp('it closed its pipe'), time)
  }

  #giveUp(reason: string): void {
    this.#killReason ??= reason
    this.kill()
  }

  #end(how: string): void {
    if (this.#ended) return
    this.#ended = true
    this.#observer.ended(this.#killReason ?? how, this.#child.exitCode === 0)
  }
}
