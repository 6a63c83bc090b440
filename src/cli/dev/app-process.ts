import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { type Deferred, deferred } from '../../deferred.ts'
import type { GivenOptions } from '../given.ts'

// Next to this file, under the name that the compiler gives it.
const CHILD = fileURLToPath(new URL('./child.js', import.meta.url))

/** What the child says: `ready`, and what `node --watch` lives on: the modules it imports. */
type Message = 'ready' | { 'watch:import'?: readonly string[]; 'watch:require'?: readonly (string | null)[] }

/** One life of an app in a process of its own. */
export class AppProcess {
  /** Resolves when it serves; rejects when it ended before. */
  readonly ready: Promise<void>
  /** Resolves with how it ended. */
  readonly ended: Promise<string>
  readonly #child: ChildProcess

  /**
   * @param flags What the child makes its settings from, beside its environment and the configuration file.
   * @param imported Called with the path of each file it loads.
   */
  constructor(flags: GivenOptions, imported: (path: string) => void) {
    const ready: Deferred<void> = deferred()
    this.ready = ready.promise
    this.#child = fork(CHILD, { env: { ...process.env, WATCH_REPORT_DEPENDENCIES: '1' } })
    this.#child.on('message', (message: Message) => {
      if (message === 'ready') ready.resolve()
      else for (const file of filesOf(message)) imported(file)
    })
    this.ended = new Promise((resolve) => {
      this.#child.on('error', (error) => resolve(error.message))
      this.#child.on('exit', (code, signal) => resolve(signal ?? `exit code ${code}`))
    })
    this.ended.then((how) => ready.reject(new Error(how)))
    this.#child.send([...flags])
  }

  /** Lets it answer what is open and end. */
  async stop(): Promise<void> {
    this.#child.kill('SIGTERM')
    await this.ended
  }

  /** Ends it at once. */
  kill(): void {
    this.#child.kill('SIGKILL')
  }
}

function filesOf(message: Exclude<Message, 'ready'>): string[] {
  const urls = (message['watch:import'] ?? []).filter((url) => url.startsWith('file:'))
  const files = [...urls.map((url) => fileURLToPath(new URL(url))), ...(message['watch:require'] ?? [])]
  return files.filter((path) => path !== null).filter((path) => !path.includes('/node_modules/'))
}
