import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { moduleBeside } from '../../runtime/module-beside.ts'
import { guardChild } from '../../runtime/orphan-guard.ts'
import { type Deferred, deferred } from '../../runtime/promises.ts'
import type { OptionKey, OptionSource, OptionSources } from '../options/command-options.ts'

/** What an app's process is told, first the flags that it makes its settings of, then when to stop. */
export type AppCommand =
  | { readonly flags: readonly (readonly [OptionKey, OptionSource])[] }
  /** To answer so many messages, all that it was sent, and to end. */
  | { readonly stopAfter: number }

/** What it says: `ready`, at its end `answered`, and the modules it imports, as Node reports them for `node --watch`. */
export type AppReport =
  | 'ready'
  | 'answered'
  | { 'watch:import'?: readonly string[]; 'watch:require'?: readonly (string | null)[] }

const CHILD = fileURLToPath(moduleBeside(import.meta.url, './child'))

/** One life of an app in a process of its own. */
export class AppProcess {
  /** Resolves when it serves; rejects when it ended before. */
  readonly ready: Promise<void>
  /** Resolves with how it ended. */
  readonly ended: Promise<string>
  /** Whether it has answered all that it was sent, as it was told to. */
  answered = false
  readonly #child: ChildProcess

  /**
   * @param flags What its settings are made of, beside the environment and the configuration file.
   * @param imported Called with the path of each file it loads.
   */
  constructor(flags: OptionSources, imported: (path: string) => void) {
    const ready: Deferred<void> = deferred()
    this.ready = ready.promise
    const child = fork(CHILD, { env: { ...process.env, WATCH_REPORT_DEPENDENCIES: '1' } })
    this.#child = child
    guardChild(child, 'late')
    child.on('message', (message: AppReport) => {
      if (message === 'ready') ready.resolve()
      else if (message === 'answered') this.answered = true
      else for (const file of filesOf(message)) imported(file)
    })
    const kill = () => child.kill('SIGKILL')
    process.once('exit', kill)
    this.ended = new Promise((resolve) => {
      child.on('error', (error) => resolve(error.message))
      // Once all that it said has been read.
      child.on('close', (code, signal) => {
        process.off('exit', kill)
        resolve(signal ?? `exit code ${code}`)
      })
    })
    this.ended.then((how) => ready.reject(new Error(how)))
    this.#tell({ flags: [...flags] })
  }

  /**
   * Lets it answer what is open and end.
   *
   * @param sent How many messages it was sent; some may be on their way.
   */
  async stop(sent: number): Promise<void> {
    if (this.#child.connected) this.#tell({ stopAfter: sent })
    await this.ended
  }

  #tell(command: AppCommand): void {
    // When it cannot be told it has ended, which is noticed elsewhere.
    this.#child.send(command, () => {})
  }
}

function filesOf(report: Exclude<AppReport, string>): string[] {
  const urls = (report['watch:import'] ?? []).filter((url) => url.startsWith('file:'))
  const files = [...urls.map((url) => fileURLToPath(new URL(url))), ...(report['watch:require'] ?? [])]
  return files.filter((path) => path !== null).filter((path) => !path.includes('/node_modules/'))
}
