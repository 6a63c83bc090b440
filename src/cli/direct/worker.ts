import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Mongrel2Options } from '../../exchange/options.ts'
import type { Level } from '../../runtime/log.ts'
import { moduleBeside } from '../../runtime/module-beside.ts'
import { guardChild } from '../../runtime/orphan-guard.ts'
import type { SeatedWorker } from '../../workers/dispatcher/seats.ts'
import type { News } from '../../workers/protocol/frames.ts'
import type { WorkerAppData } from '../modules/worker-app.ts'

const ENTRY = fileURLToPath(moduleBeside(import.meta.url, './child'))
/** How much longer than its time a process may take to end, in milliseconds. */
const STOP_GRACE = 2000

/** What a process that pulls for itself serves. */
export interface DirectTask {
  readonly data: WorkerAppData
  readonly options: Mongrel2Options
  /** What is logged; its lines are written by the one who has forked it. */
  readonly logLevels: readonly Level[]
}

/** What it is told. */
export type DirectOrder =
  | DirectTask
  /** To answer what it has within so many milliseconds, and to end. */
  | { readonly stop: number }

/** What it tells: as a worker behind a dispatcher does, and that Mongrel2 was found at every endpoint. */
export type DirectNews =
  | Extract<News, { readonly news: 'loaded' | 'failed' | 'leaving' | 'line' }>
  | { readonly news: 'ready' }

/** Told what a process says and how it ends. */
export interface DirectObserver {
  news(worker: DirectWorker, news: DirectNews): void
  gone(worker: DirectWorker, reason: string): void
}

/** How processes are started. Times are in milliseconds. */
export interface DirectStart {
  readonly task: DirectTask
  readonly execArgv: readonly string[]
  readonly startTimeout: number
}

/** A process that pulls for itself, from its start to its end. */
export class DirectWorker implements SeatedWorker {
  loaded = false
  ready = false
  stopping = false
  readonly #child: ChildProcess
  #killReason: string | undefined

  constructor({ task, execArgv, startTimeout }: DirectStart, observer: DirectObserver) {
    this.#child = fork(ENTRY, { execArgv: [...execArgv], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    guardChild(this.#child, 'late')
    const late = () => this.kill(`it had not loaded its app within startTimeout, ${startTimeout} ms`)
    const timer = setTimeout(late, startTimeout)
    this.#child.on('message', (news: DirectNews) => {
      if (news.news === 'loaded') {
        this.loaded = true
        clearTimeout(timer)
      } else if (news.news === 'ready') this.ready = true
      else if (news.news === 'failed') this.#killReason ??= news.reason
      observer.news(this, news)
    })
    let gone = false
    const end = (how: string) => {
      if (gone) return
      gone = true
      clearTimeout(timer)
      observer.gone(this, this.#killReason ?? how)
    }
    this.#child.on('error', (error) => end(`it could not be started: ${error.message}`))
    // Once it has ended and all that it said has been read.
    this.#child.on('close', (code, signal) =>
      end(signal === null ? `it exited with code ${code}` : `it was ended by ${signal}`),
    )
    this.#tell(task)
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  /** Lets it answer what it has within so many milliseconds, and end. */
  stop(timeout: number): void {
    if (this.stopping) return
    this.stopping = true
    if (!this.loaded) return this.kill('it was not needed any more')
    this.#tell({ stop: timeout })
    setTimeout(() => this.kill('it did not end'), timeout + STOP_GRACE).unref()
  }

  kill(reason: string): void {
    this.#killReason ??= reason
    this.#child.kill('SIGKILL')
  }

  #tell(order: DirectOrder): void {
    // When it cannot be told it has ended, which is noticed elsewhere.
    this.#child.send(order, () => {})
  }
}
