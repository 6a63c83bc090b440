import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { EndpointOptions } from '../../src/index.ts'
import { type Mongrel2, startMongrel2 } from '../support/mongrel2.ts'

/** How a Mongrel2 of the soak is set up. */
export interface FrontSetup {
  readonly pacing: 'credits' | 'controlPort' | 'estimate'
  readonly uploads: 'file' | 'stream'
}

/** A Mongrel2 that is restarted now and then, and knows when. */
export class Front {
  readonly setup: FrontSetup
  /** Counted up before it is ended: what fails in a life that is over has a reason. */
  life = 1
  /** When the life before this one was ended, in milliseconds of `performance.now()`. */
  endedAt = 0
  readonly #mongrel2: Mongrel2
  #up: Promise<void> = Promise.resolve()
  #begunAt = Date.now()

  private constructor(setup: FrontSetup, mongrel2: Mongrel2) {
    this.setup = setup
    this.#mongrel2 = mongrel2
  }

  static async start(setup: FrontSetup): Promise<Front> {
    const { pacing, uploads } = setup
    return new Front(setup, await startMongrel2({ flowControl: pacing === 'credits', uploads, protocol: 'tnetstring' }))
  }

  get port(): number {
    return this.#mongrel2.port
  }

  get endpoint(): EndpointOptions {
    const [sendSpec = '', recvSpec = ''] = this.#mongrel2.endpoint.split(',')
    const { directory, controlPort } = this.#mongrel2
    const endpoint = { sendSpec, recvSpec, chroot: directory }
    return this.setup.pacing === 'controlPort' ? { ...endpoint, controlPort } : endpoint
  }

  /** Resolves when it takes connections. */
  async whenUp(): Promise<void> {
    for (let up: Promise<void> | undefined; up !== this.#up; ) {
      up = this.#up
      await up
    }
  }

  async restart(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    this.life++
    this.endedAt = performance.now()
    this.#up = this.#mongrel2.restart({ signal }).then(() => {
      this.#begunAt = Date.now()
    })
    await this.#up
  }

  /** Files of uploads that were begun in this life and are there still; those of a life before nobody could be told of. */
  async filesLeft(): Promise<number> {
    const directory = join(this.#mongrel2.directory, 'tmp')
    const files = await Promise.all((await readdir(directory)).map((name) => stat(join(directory, name))))
    return files.filter((file) => file.birthtimeMs > this.#begunAt).length
  }

  async stop(): Promise<void> {
    await this.#mongrel2.stop()
  }
}
