import { describeLoadError } from '../../runtime/log.ts'
import { type Deferred, deferred } from '../../runtime/promises.ts'

/** The exit codes of the command. `--help` and the documentation show what they mean. */
export const EXIT_CODES = {
  ok: [0, 'done, or closed after a signal with an answer to everything that was received'],
  failed: [1, 'not done; the help of each command says when'],
  usage: [2, 'a wrong option, argument or configuration file'],
  load: [3, 'the app is missing, does not load or exports no handler'],
  front: [4, 'an address cannot be used, or the front of `dev` could not be started or ended by itself'],
} as const

export type Ending = keyof typeof EXIT_CODES

const CLOSED = 'closed after a signal, everything that was received is answered'
const UNCAUGHT = 'an error that nobody caught, or serving could not go on'
const [USAGE, LOAD] = [EXIT_CODES.usage[1], EXIT_CODES.load[1]]

/** How each command ends, and when. */
export const ENDINGS: Readonly<Record<string, Partial<Record<Ending, string>>>> = {
  serve: { ok: CLOSED, failed: UNCAUGHT, usage: USAGE, load: LOAD, front: '`--http` or `--admin` cannot listen' },
  dev: {
    ok: CLOSED,
    failed: UNCAUGHT,
    usage: USAGE,
    front: 'the front, Mongrel2 or its stand-in, could not be started or ended by itself',
  },
  fetch: {
    ok: 'the status is below 400',
    failed: 'the status is 400 or above, or no response',
    usage: USAGE,
    load: LOAD,
  },
  replay: {
    ok: 'the requests were sent; with `--check`, no response differs',
    failed: 'with `--check`, a response differs',
    usage: USAGE,
    load: LOAD,
  },
  status: {
    ok: 'the server is ready; with `--watch`, ended by a signal',
    failed: 'the server is not ready, or does not answer',
    usage: USAGE,
  },
  doctor: { ok: 'no mistake was found', failed: 'a mistake was found', usage: USAGE },
  init: { ok: 'the project is written', failed: 'a file was there already, and is unchanged', usage: USAGE },
  keygen: { ok: 'the keys are written', usage: 'a wrong argument, or the file was there already, and is unchanged' },
  mongrel2: { ok: 'Mongrel2 did it', failed: 'Mongrel2 refused it, or does not answer', usage: USAGE },
  complete: { ok: 'the script is printed', usage: USAGE },
}

/** The exit codes after a second signal: 128 and its number, as shells count. */
export const SIGNAL_EXIT_CODES = { SIGINT: 130, SIGTERM: 143 } as const

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
