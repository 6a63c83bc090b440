import * as is from '../options/option.ts'
import type { DeferOptions, Deferral } from '../platform/handler.ts'
import { isDerived } from '../platform/light-response.ts'
import { platform } from '../platform/stand-in.ts'
import { Mongrel2Error } from '../runtime/errors.ts'
import { DEFERRED_FIELD } from '../wire/http.ts'

const OPTIONS = { timeout: is.milliseconds(60_000, 1) } satisfies is.Described<DeferOptions>
/** Checks the options of `defer`; throws Mongrel2Error `invalid_option`. */
export const checkDeferOptions = is.checkerOf('option of defer', '{ timeout }', OPTIONS)

/** The answer of a request that another process gives, once the handler returns `response`. */
export class PendingDeferral implements Deferral {
  readonly timeout: number
  readonly token: string
  readonly response: Response
  readonly #mark = crypto.randomUUID()

  /** @param timeout In milliseconds. */
  constructor(token: string, timeout: number) {
    this.token = token
    this.timeout = timeout
    this.response = new platform.Response(null, { status: 202, headers: { [DEFERRED_FIELD]: this.#mark } })
  }

  /** Whether a response is `response` or was made from it. */
  accepts(response: Response): boolean {
    return response === this.response || isDerived(response, this.response.status, DEFERRED_FIELD, this.#mark)
  }
}

export function notDeferrable(why: string): Mongrel2Error {
  return new Mongrel2Error('not_deferrable', `expected a request that can be answered from elsewhere: ${why}`)
}
