import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process'
import { once } from 'node:events'

/** A program that serves an app, in a process of its own. */
export class AppProcess implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly #exit: Promise<unknown>
  #output = ''

  private constructor(child: ChildProcess) {
    this.#child = child
    this.#exit = once(child, 'exit')
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.#output += text
      })
    }
  }

  /** Starts Node with these arguments. What the process sends to us is the second value, when it is there. */
  static start(args: readonly string[], cwd: string, env: Readonly<Record<string, string>>): AppProcess {
    const stdio: StdioOptions = ['ignore', 'pipe', 'pipe', 'ipc']
    return new AppProcess(
      spawn(process.execPath, args, { cwd, stdio, serialization: 'advanced', env: { ...process.env, ...env } }),
    )
  }

  /** What the process sends first. */
  async message<T>(): Promise<T> {
    const message = once(this.#child, 'message').then(([value]) => value as T)
    return await Promise.race([message, this.#endsBefore('it sent a message')])
  }

  /** Resolves when the process has printed this. */
  async prints(pattern: RegExp): Promise<void> {
    const printed = new Promise<void>((resolve) => {
      const look = () => pattern.test(this.#output) && resolve()
      this.#child.stdout?.on('data', look)
      this.#child.stderr?.on('data', look)
      look()
    })
    await Promise.race([printed, this.#endsBefore(`it printed ${pattern}`)])
  }

  /** What it has printed so far. */
  get output(): string {
    return this.#output
  }

  async #endsBefore(what: string): Promise<never> {
    await this.#exit
    throw new Error(`the process ended before ${what}:\n${this.#output}`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#exit
  }
}
