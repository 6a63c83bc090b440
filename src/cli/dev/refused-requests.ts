import { closeSync, existsSync, openSync, readSync, watch } from 'node:fs'
import { dirname } from 'node:path'
import { type Logger, ThrottledWarning } from '../../runtime/log.ts'

/** What Mongrel2 logs when it refuses a request before any handler gets it, and what that means. */
const REASONS = [
  ['Content length field out of', 'its Content-Length is too large'],
  [
    'Error parsing request',
    'its URL has a character that clients have to encode, such as { } | ^ " < > [ ] or é, or it is not HTTP',
  ],
  ['Too many small packet read attempts', 'its first line and headers are longer than 16 KiB'],
  ['unsupported expectation', 'its Expect is not 100-continue'],
] as const

/** Finds the requests that Mongrel2 refuses in what it logs: on stderr, or as root in a file. */
export class RefusedRequests {
  readonly #warning: ThrottledWarning

  constructor(logger: Logger) {
    this.#warning = new ThrottledWarning(logger)
  }

  /** Takes some of the log. */
  read(text: string): void {
    for (const line of text.split('\n')) {
      const reason = REASONS.find(([logged]) => line.includes(logged))?.[1]
      if (reason !== undefined) this.#warning.say(() => `mongrel2-fetch: Mongrel2 refused a request: ${reason}`)
    }
  }

  /** Takes what is appended to the log, if there is one; returns what ends that. */
  follow(log: string): () => void {
    let at = 0
    const bytes = Buffer.alloc(16_384)
    const watcher = watch(dirname(log), () => {
      if (!existsSync(log)) return
      const file = openSync(log, 'r')
      for (let read = 1; read > 0; at += read) {
        read = readSync(file, bytes, 0, bytes.length, at)
        this.read(bytes.toString('latin1', 0, read))
      }
      closeSync(file)
    })
    return () => watcher.close()
  }
}
