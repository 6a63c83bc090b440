import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'

/** An example with its Mongrel2, as `npm start -- NAME` starts them. */
export class StartedExample implements AsyncDisposable {
  readonly origin: string
  readonly #child: ChildProcess
  readonly #output: () => string

  private constructor(child: ChildProcess, origin: string, output: () => string) {
    this.#child = child
    this.origin = origin
    this.#output = output
  }

  static async start(name: string): Promise<StartedExample> {
    const child = spawn(process.execPath, ['examples/start.mjs', name, '--port', '0'], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let output = ''
    const found = new Promise<string>((resolve, reject) => {
      for (const stream of [child.stdout, child.stderr])
        stream.setEncoding('utf8').on('data', (text: string) => {
          output += text
          const [, origin] = /answers at (http:\S+)\/ through/.exec(output) ?? []
          if (origin !== undefined) resolve(origin)
        })
      child.on('close', () => reject(new Error(`examples/start.mjs ${name} ended: ${output}`)))
    })
    return new StartedExample(child, await found, () => output)
  }

  /** What it has printed. */
  get output(): string {
    return this.#output()
  }

  get port(): number {
    return Number(new URL(this.origin).port)
  }

  /** Stops it as Ctrl-C does; its exit code. */
  async stop(): Promise<number | null> {
    if (this.#child.exitCode !== null) return this.#child.exitCode
    const closed = once(this.#child, 'close')
    this.#child.kill('SIGINT')
    const [code] = await closed
    return code as number | null
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }
}

/** A terminal at a message socket: examples/terminal.mjs. */
export class Terminal implements Disposable {
  /** What it has printed. */
  screen = ''
  readonly #child: ChildProcess
  readonly closed: Promise<unknown>

  constructor(route: string, port: number) {
    const child = spawn(process.execPath, ['examples/terminal.mjs', route, String(port)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.screen += text
    })
    this.closed = once(child, 'close')
    this.#child = child
  }

  type(line: string): void {
    this.#child.stdin?.write(`${line}\n`)
  }

  /** Ends the input, as Ctrl-D does. */
  leave(): void {
    this.#child.stdin?.end()
  }

  [Symbol.dispose](): void {
    this.#child.kill()
  }
}
