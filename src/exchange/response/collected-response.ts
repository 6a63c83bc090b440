import type { RequestSemantics } from '../../connection/request-semantics.ts'
import { plainResponseOf } from '../../platform/light-response.ts'
import { CallContext } from '../../runtime/call-context.ts'
import { Mongrel2Error } from '../../runtime/errors.ts'
import { checkResponse } from './check-response.ts'
import { sendPlain } from './plain-response.ts'
import type { ResponseSink } from './response-sink.ts'
import { cancelBody, type OpenBody, sendResponse } from './send-response.ts'

/** Renders a whole response. Throws Mongrel2Error `over_budget` beyond `most` bytes, `invalid_response`, and what its stream fails with. */
export async function collectResponse(
  value: unknown,
  semantics: RequestSemantics,
  most: number,
): Promise<Uint8Array[]> {
  const response = checkResponse(value)
  const context = new CallContext()
  const pieces: Uint8Array[] = []
  let size = 0
  let body: OpenBody | undefined
  let fault: Error | undefined
  const write = (bytes: Uint8Array) => {
    size += bytes.length
    if (size <= most) pieces.push(bytes)
    else if (fault === undefined) {
      sink.aborted = true
      fault = new Mongrel2Error('over_budget', `expected a response of at most ${most} bytes, head included`)
      if (body !== undefined) context.run(cancelBody, body, fault)
    }
  }
  // The caller decides what becomes of the connection, and nothing goes out before the end.
  const sink: ResponseSink & { aborted: boolean } = {
    aborted: false,
    write,
    writeShared: write,
    writable: () => undefined,
    persists: () => semantics.persistent,
  }
  const reading = (open: OpenBody) => {
    body = open
  }
  const plain = plainResponseOf(response)
  const sent =
    (plain && sendPlain(plain, semantics, sink)) ??
    (await context.run(sendResponse, response, semantics, sink, reading))
  if (fault !== undefined) throw fault
  if (sent.fault !== undefined) throw sent.fault
  return pieces
}
