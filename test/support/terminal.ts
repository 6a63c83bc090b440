import { spawn } from 'node:child_process'
import { once } from 'node:events'
// A CommonJS module whose names Node does not see.
import xterm from '@xterm/headless'

/** How long something is waited for, in milliseconds. */
const SHOWN_WITHIN = 60_000

/** A terminal as a person has it: Node shows no colours where a CI runs. */
const PERSON = { SHELL: '/bin/sh', TERM: 'xterm', CI: undefined, FORCE_COLOR: undefined, NO_COLOR: undefined }

/** A program on a pseudo-terminal of `script` (util-linux), and the screen of that terminal; disposed of, the program is ended. */
export class Terminal implements AsyncDisposable {
  /** Resolves with the exit code, when the screen shows all that the program has written. */
  readonly ended: Promise<number | null>
  /** All that the program has written, with control sequences. */
  written = ''
  readonly #child
  readonly #screen
  #changed = () => {}
  #isEnded = false

  /**
   * @param command A program and its arguments.
   * @param options.env Variables beside our own.
   */
  constructor(
    command: readonly string[],
    {
      cwd,
      env = {},
      columns = 80,
      rows = 24,
    }: { cwd?: string; env?: Record<string, string | undefined>; columns?: number; rows?: number } = {},
  ) {
    this.#screen = new xterm.Terminal({ cols: columns, rows, scrollback: 1000, allowProposedApi: true })
    const run = `stty cols ${columns} rows ${rows}; exec ${command.map(quoted).join(' ')}`
    this.#child = spawn('script', ['--quiet', '--return', '--flush', '--command', run, '/dev/null'], {
      ...(cwd !== undefined && { cwd }),
      env: { ...process.env, ...PERSON, ...env },
      stdio: ['pipe', 'pipe', 'inherit'],
      // Ctrl-C of the terminal that the tests run in stays there.
      detached: true,
    })
    this.#child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.written += text
      this.#screen.write(text, () => this.#changed())
    })
    // The terminal's answers to questions of the program.
    this.#screen.onData((text) => this.type(text))
    this.#child.stdin.on('error', () => {}) // the program has ended
    this.ended = once(this.#child, 'close').then(async ([code]) => {
      await new Promise<void>((shown) => this.#screen.write('', shown))
      this.#isEnded = true
      this.#changed()
      return code
    })
  }

  /** The lines on the screen and above it, without empty ones at the end. */
  get lines(): string[] {
    const { active } = this.#screen.buffer
    const lines = Array.from({ length: active.length }, (_, n) => active.getLine(n)?.translateToString(true) ?? '')
    while (lines.at(-1) === '') lines.pop()
    return lines
  }

  /**
   * Resolves with what a pattern finds on the screen or above it, as soon as it is there.
   *
   * @throws {Error} When the program ends without it, or it does not come.
   */
  async shows(pattern: RegExp): Promise<RegExpExecArray> {
    const deadline = AbortSignal.timeout(SHOWN_WITHIN)
    deadline.addEventListener('abort', () => this.#changed())
    for (;;) {
      const text = this.lines.join('\n')
      const found = pattern.exec(text)
      if (found !== null) return found
      if (this.#isEnded || deadline.aborted) throw new Error(`it does not show ${pattern}:\n${text}`)
      await new Promise<void>((resolve) => {
        this.#changed = resolve
      })
    }
  }

  /** Types a text; `\x03` is Ctrl-C. */
  type(text: string): void {
    this.#child.stdin.write(text)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // The program gets a SIGHUP with its terminal.
    this.#child.kill('SIGKILL')
    this.#child.stdin.destroy()
    await this.ended
  }
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`
}
