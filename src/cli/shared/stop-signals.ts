import { type Deferred, deferred } from '../../runtime/promises.ts'
import { SIGNAL_EXIT_CODES } from './exit-code.ts'

/**
 * Signals that come together are one: Ctrl-C reaches everybody at the terminal, and npm passes on to us what it got.
 * In milliseconds.
 */
const TOGETHER = 300

/**
 * Resolves with the first SIGTERM or SIGINT. A later one ends the process at once.
 *
 * @param leave What is done before that.
 */
export function stopSignal(leave: () => void = () => {}): Promise<NodeJS.Signals> {
  const first: Deferred<NodeJS.Signals> = deferred()
  let since: number | undefined
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      since ??= performance.now()
      first.resolve(signal)
      if (performance.now() - since <= TOGETHER) return
      leave()
      process.exit(SIGNAL_EXIT_CODES[signal])
    })
  }
  return first.promise
}
