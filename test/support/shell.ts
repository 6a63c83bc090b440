import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { expect } from 'vitest'

/** Commands in a terminal, which `stop` ends as Ctrl-C does. */
export class Shell {
  /** Rejects when the commands end, with what they printed. */
  readonly ended: Promise<never>
  #output = ''
  readonly #child
  readonly #closed: Promise<unknown>

  constructor(commands: string, cwd: string, env: NodeJS.ProcessEnv = {}, user: { uid?: number; gid?: number } = {}) {
    const options = { cwd, env: { ...process.env, ...env }, ...user, detached: true }
    this.#child = spawn('sh', ['-e', '-c', commands], { ...options, stdio: ['ignore', 'pipe', 'pipe'] })
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.#output += text
      })
    }
    this.#closed = once(this.#child, 'close')
    this.ended = this.#closed.then(() => {
      throw new Error(`${commands} ended:\n${this.#output}`)
    })
    this.ended.catch(() => {}) // it may have been stopped
  }

  /** Waits until the output contains a text. */
  async prints(text: string, options: { timeout?: number } = {}): Promise<void> {
    await Promise.race([expect.poll(() => this.#output, options).toContain(text), this.ended])
  }

  async stop(): Promise<void> {
    const { pid, exitCode, signalCode } = this.#child
    if (pid !== undefined && exitCode === null && signalCode === null) process.kill(-pid, 'SIGINT')
    await this.#closed
  }
}
