import { describeError, type Logger } from '../runtime/log.ts'
import { whenAborted } from '../runtime/promises.ts'
import * as is from './option.ts'

export const CLOSE = { timeout: is.milliseconds(10_000, 0) }
const check = is.checkerOf('option of close', '{ timeout }', CLOSE)

/** Makes the `close` of a server, which its signal calls too; `end` gets the time for open requests in milliseconds. */
export function closeOnce(
  { signal, logger }: { readonly signal?: AbortSignal | undefined; readonly logger?: Logger },
  end: (timeout: number) => Promise<void>,
): (options?: { timeout?: number }) => Promise<void> {
  let closed: Promise<void> | undefined
  const close = (options: { timeout?: number } = {}) => {
    const { timeout } = check(options)
    closed ??= end(timeout)
    return closed
  }
  whenAborted(signal, () => {
    close().catch((error: unknown) => logger?.error?.(`mongrel2-fetch: closing failed: ${describeError(error)}`))
  })
  return close
}
