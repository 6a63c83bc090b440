/** What went wrong, for programs. */
export type Mongrel2ErrorCode =
  /** An option of `serveMongrel2` has a wrong type or value. */
  | 'invalid_option'
  /** The server was closed before it could do what was asked. */
  | 'closed'
  /** An upload's file is not where the options say, or is unreadable. */
  | 'upload_unavailable'
  /** The handler returned a value that cannot be sent as an HTTP response. */
  | 'invalid_response'
  /** `upgradeWebSocket` was called for a request that is no handshake, or was answered. */
  | 'not_a_handshake'
  /** `defer` was called for a request that was answered or deferred before, or whose body is incomplete. */
  | 'not_deferrable'
  /** A token is malformed, or is for something else. */
  | 'invalid_token'
  /** A token is of another Mongrel2 or another epoch, has expired, or was answered before. */
  | 'stale_token'
  /** More bytes than may be sent to a connection from outside. */
  | 'over_budget'
  /** Mongrel2, or a process of the command, did not answer in time. */
  | 'timeout'
  /** Mongrel2's control port refused a command, or what answered is no control port. */
  | 'control_failed'
  /** A worker could not load its app, or ended before that; m2sh could not load a configuration; or libzmq cannot be loaded. */
  | 'load_failed'

/** The error class of this package. */
export class Mongrel2Error extends Error {
  /** What went wrong, for programs. */
  readonly code: Mongrel2ErrorCode

  constructor(code: Mongrel2ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'Mongrel2Error'
    this.code = code
  }
}

/** An error about an option, with its name as the user gave it. */
export function invalid(name: string, expected: string, got: unknown): Mongrel2Error {
  return new Mongrel2Error('invalid_option', `${name}: expected ${expected}, got ${describe(got)}`)
}

function describe(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value)
  if (Array.isArray(value)) return `a list of ${value.length}`
  return isObject(value) ? `an object (${Object.keys(value).join(', ')})` : String(value)
}

/** Whether a value is an object, and no list. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
