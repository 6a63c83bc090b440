import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { JoinOptions } from '../../src/index.ts'

const ENTRY = fileURLToPath(new URL('node-process.ts', import.meta.url))
const HOOK = new URL('register-tsx.mjs', import.meta.url).href

/** A node of a cluster in a process of its own, in a network namespace perhaps. */
export class ClusterNode implements AsyncDisposable {
  /** What it has said, line by line. */
  readonly lines: string[] = []
  readonly #child: ChildProcess
  readonly #ended: Promise<unknown>

  constructor(options: JoinOptions, namespace?: string) {
    const command = [process.execPath, '--import', HOOK, ENTRY, JSON.stringify(options)]
    const [program = '', ...args] = namespace === undefined ? command : ['ip', 'netns', 'exec', namespace, ...command]
    this.#child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    this.#ended = once(this.#child, 'exit')
    let rest = ''
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n')
      rest = lines.pop() ?? ''
      this.lines.push(...lines)
    })
  }

  get output(): string {
    return this.lines.join('\n')
  }

  /** Ends it; resolves when it is gone. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    this.#child.kill(signal)
    await this.#ended
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGCONT')
    await this.kill()
  }
}
