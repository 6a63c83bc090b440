import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Mongrel2Options, Mongrel2Statistics } from '../../src/index.ts'

/** What a server in a process of its own says about itself. */
export interface ServerReport {
  readonly stats: Mongrel2Statistics
  /** Bytes of its process in memory. */
  readonly rss: number
  /** The most that there ever were. */
  readonly peak: number
  /** Bytes of these that are objects and buffers. */
  readonly heap: number
}

/** A handler at work behind Mongrel2 in a process of its own, of which the memory can be looked at. */
export class ServerProcess implements AsyncDisposable {
  readonly #child: ChildProcess

  private constructor(child: ChildProcess) {
    this.#child = child
  }

  /**
   * Serves a handler and resolves when it is ready.
   *
   * @param module The URL of a module whose default export has a `fetch`.
   * @param options Those that can be sent to another process.
   */
  static async start(module: URL, options: Mongrel2Options): Promise<ServerProcess> {
    const script = fileURLToPath(new URL('server-process-main.ts', import.meta.url))
    // V8 lets the space of young objects grow when it likes, on Node 24 by up to 128 MiB long after a warm-up. Here it has its size from the start.
    const youngObjects = ['--min-semi-space-size=16', '--max-semi-space-size=16']
    const args = [...youngObjects, '--expose-gc', '--import', 'tsx', script, module.href, JSON.stringify(options)]
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    const ended = once(child, 'exit').then(() => {
      throw new Error('the server did not start')
    })
    ended.catch(() => {}) // it ends without anybody waiting for it to start
    await Promise.race([once(child, 'message'), ended])
    return new ServerProcess(child)
  }

  /** @param options.collect Whether its garbage is collected before. */
  async report({ collect = false } = {}): Promise<ServerReport> {
    const answer = once(this.#child, 'message')
    this.#child.send({ collect })
    const [report] = await answer
    return report
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const exit = once(this.#child, 'exit')
    this.#child.disconnect()
    await exit
  }
}
