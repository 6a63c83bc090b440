import { PlatformResponse } from '../platform/stand-in.ts'

/** The platform's types call these properties fields, which a getter may not override. */
const ResponseClass: new (body: null, init: ResponseInit) => Omit<Response, 'status' | 'statusText' | 'ok'> =
  PlatformResponse

/**
 * The answer that accepts a WebSocket. The platform's Response refuses the status 101, in its constructor and of others: what
 * middleware makes of this says 200, has no body and the same Sec-WebSocket-Accept.
 */
class UpgradeResponse extends ResponseClass {
  constructor(headers: Headers) {
    super(null, { headers })
  }

  get status(): number {
    return 101
  }

  get statusText(): string {
    return 'Switching Protocols'
  }

  get ok(): boolean {
    return false
  }
}

/** Makes the answer that accepts a WebSocket. */
export function createUpgradeResponse(headers: Headers): Response {
  return new UpgradeResponse(headers)
}

/** Whether a response is one that accepts a WebSocket, as it was made. */
export function isUpgradeResponse(response: Response): boolean {
  return response instanceof UpgradeResponse
}
