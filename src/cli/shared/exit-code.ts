import { describeLoadError } from '../../runtime/log.ts'
import { type Deferred, deferred } from '../../runtime/promises.ts'

/** The exit codes of the command; the README and `--help` show this table. */
export const EXIT_CODES = {
  ok: [0, 'closed after a signal, everything that was received is answered'],
  failed: [
    1,
    'an error that nobody caught, or serving could not go on; `status`: the server is not ready, or does not answer; `doctor`: it found a mistake; `init`: a file was there already; `fetch`: the status is 400 or above; `replay --check`: a response differs',
  ],
  usage: [2, 'a wrong option, argument or configuration file'],
  load: [3, 'the app is missing, does not load or exports no handler'],
  front: [
    4,
    'the front of `dev`, Mongrel2 or its stand-in, could not be started or ended by itself, or `--http` or `--admin` cannot listen',
  ],
} as const

/** The exit codes after a second signal: 128 and its number, as shells count. */
export const SIGNAL_EXIT_CODES = { SIGINT: 130, SIGTERM: 143 } as const

export type Ending = keyof typeof EXIT_CODES

/** Ends the command with an exit code and a message for the user, without a stack. */
export class CommandError extends Error {
  readonly ending: Ending

  constructor(ending: Ending, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'CommandError'
    this.ending = ending
  }

  /** The message and the cause. */
  describe(): string {
    return this.cause === undefined ? this.message : `${this.message}:\n${describeLoadError(this.cause)}`
  }
}

/** Signals within this time count as one, in milliseconds: a terminal sends Ctrl-C to us and to npm, which passes it on. */
const TOGETHER = 300

/** Resolves with the first SIGTERM or SIGINT. A later one calls `beforeExit` and ends the process at once. */
export function stopSignal(beforeExit: () => void = () => {}): Promise<NodeJS.Signals> {
  const first: Deferred<NodeJS.Signals> = deferred()
  let since: number | undefined
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      since ??= performance.now()
      first.resolve(signal)
      if (performance.now() - since <= TOGETHER) return
      beforeExit()
      process.exit(SIGNAL_EXIT_CODES[signal])
    })
  }
  return first.promise
}
