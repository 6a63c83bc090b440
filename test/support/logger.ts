import type { Logger } from '../../src/index.ts'

type Level = 'debug' | 'info' | 'warn' | 'error'

/** Keeps the lines it gets. */
export class CollectingLogger implements Logger {
  readonly lines: { level: Level; line: string }[] = []
  readonly #waiting: { level: Level; resolve: (line: string) => void }[] = []

  debug(line: string): void {
    this.#take('debug', line)
  }

  info(line: string): void {
    this.#take('info', line)
  }

  warn(line: string): void {
    this.#take('warn', line)
  }

  error(line: string): void {
    this.#take('error', line)
  }

  get warnings(): string[] {
    return this.#of('warn')
  }

  get errors(): string[] {
    return this.#of('error')
  }

  /** Resolves with the next line of a level, or the first if there is one already. */
  async next(level: Level): Promise<string> {
    const [first] = this.#of(level)
    return first ?? (await new Promise((resolve) => this.#waiting.push({ level, resolve })))
  }

  #of(level: Level): string[] {
    return this.lines.filter((entry) => entry.level === level).map((entry) => entry.line)
  }

  #take(level: Level, line: string): void {
    this.lines.push({ level, line })
    for (const waiting of this.#waiting) if (waiting.level === level) waiting.resolve(line)
  }
}
