import { appendFileSync } from 'node:fs'
import type { Logger } from '../runtime/log.ts'

export class RequestLog {
  readonly #path: string
  constructor(path: string, _logger: Logger) {
    this.#path = path
  }
  write(line: string): void {
    appendFileSync(this.#path, `${line}\n`)
  }
  reopen(): void {}
  async close(): Promise<void> {}
}
