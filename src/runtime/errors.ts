/** What went wrong, for programs: the message says it for people. */
export type Mongrel2ErrorCode =
  /** An option of `serveMongrel2` has a wrong type or value. */
  | 'invalid_option'
  /** The server was closed before it could do what was asked. */
  | 'closed'
  /** An upload's file does not lie where the options say, or cannot be read. */
  | 'upload_unavailable'
  /** The handler returned something that cannot be sent as an HTTP response. */
  | 'invalid_response'
  /** `upgradeWebSocket` was called for a request that is no handshake, or not any more. */
  | 'not_a_handshake'
  /** `defer` was called for a request that was answered or deferred before, or whose body is still on its way. */
  | 'not_deferrable'
  /** A token is none, or is one for something else. */
  | 'invalid_token'
  /** A token is of another Mongrel2 or another life of it, its time is over, or it was answered before. */
  | 'stale_token'
  /** More than may be sent to a connection from outside. */
  | 'over_budget'
  /** A Mongrel2 that was connected to did not answer in time; logged, and tried again. */
  | 'timeout'
  /** A worker could not load its app, or ended before it had. */
  | 'load_failed'

/** The one class of errors this package throws. Its message says what was expected, what came and what to do. */
export class Mongrel2Error extends Error {
  readonly code: Mongrel2ErrorCode

  constructor(code: Mongrel2ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'Mongrel2Error'
    this.code = code
  }
}

/** The error for an option, with its name as the user gave it. */
export function invalid(name: string, expected: string, got: unknown): Mongrel2Error {
  return new Mongrel2Error('invalid_option', `${name}: expected ${expected}, got ${describe(got)}`)
}

function describe(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value)
  if (Array.isArray(value)) return `a list of ${value.length}`
  return isObject(value) ? `an object (${Object.keys(value).join(', ')})` : String(value)
}

/** Whether a value has properties to look at. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
