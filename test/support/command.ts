import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

/** The built command. */
export const MAIN = resolve('dist/src/cli/main.js')

/** A directory of somebody who uses the command; disposed of, it is gone and what was started in it is ended. */
export class Workplace implements AsyncDisposable {
  readonly directory = realpathSync(mkdtempSync(join(tmpdir(), 'command-test-')))
  readonly #runs: CommandRun[] = []

  constructor(files: Readonly<Record<string, string>> = {}) {
    this.write('package.json', '{ "type": "module" }')
    for (const [path, text] of Object.entries(files)) this.write(path, text)
  }

  write(path: string, text: string): void {
    writeFileSync(join(this.directory, path), text)
  }

  /** Starts the built command. */
  run(args: readonly string[], env: Readonly<Record<string, string>> = {}): CommandRun {
    return this.start([process.execPath, MAIN, ...args], env)
  }

  /** Starts any program. */
  start(command: readonly string[], env: Readonly<Record<string, string>> = {}): CommandRun {
    const run = new CommandRun(command, this.directory, env)
    this.#runs.push(run)
    return run
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const run of this.#runs) {
      run.signal('SIGKILL')
      await run.ended
    }
    rmSync(this.directory, { recursive: true, force: true })
  }
}

/** The command, or another program, in a process of its own. */
export class CommandRun {
  /** Resolves with the exit code, or the signal that ended it. */
  readonly ended: Promise<number | NodeJS.Signals | null>
  readonly pid: number
  stdout = ''
  /** With the times of log lines. */
  timedStderr = ''
  readonly #child: ChildProcess
  #printed = () => {}

  constructor([program = '', ...args]: readonly string[], cwd: string, env: Readonly<Record<string, string>>) {
    const child = spawn(program, args, {
      cwd,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#child = child
    this.pid = child.pid ?? 0
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text
      this.#printed()
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.timedStderr += text
      this.#printed()
    })
    this.ended = once(child, 'close').then(([code, signal]) => {
      this.#printed()
      return code ?? signal
    })
  }

  /** Without the times of log lines. */
  get stderr(): string {
    return this.timedStderr.replace(/^\d{4}-\d\d-\d\dT\S+Z /gm, '')
  }

  /**
   * Resolves with what a pattern finds in the output of either kind, as soon as it is there.
   *
   * @throws {Error} When the command ends without it.
   */
  async prints(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const found = pattern.exec(this.stdout) ?? pattern.exec(this.stderr)
      if (found !== null) return found
      if (this.#child.exitCode !== null || this.#child.signalCode !== null) {
        await this.ended
        const last = pattern.exec(this.stdout) ?? pattern.exec(this.stderr)
        if (last !== null) return last
        throw new Error(`it ended without ${pattern}:\n${this.stdout}${this.stderr}`)
      }
      await new Promise<void>((resolve) => {
        this.#printed = resolve
      })
    }
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }
}
