import { renderHead } from '../wire/http.ts'

/** Lets a client go on that has asked with `Expect: 100-continue`. */
export const CONTINUE: Buffer = renderHead(100, 'Continue', [])

/** What the front answers by itself; the connection ends behind it. */
export const REFUSALS: Readonly<Record<'badRequest' | 'notFound' | 'tooLarge' | 'expectationFailed', Buffer>> = {
  badRequest: refusal(400, 'Bad Request'),
  notFound: refusal(404, 'Not Found'),
  tooLarge: refusal(413, 'Request Entity Too Large'),
  expectationFailed: refusal(417, 'Expectation Failed'),
}

function refusal(status: number, reason: string): Buffer {
  const head = renderHead(status, reason, [
    ['Content-Type', 'text/plain'],
    ['Connection', 'close'],
    ['Content-Length', String(reason.length)],
    ['Server', 'mongrel2-fetch front'],
  ])
  return Buffer.concat([head, Buffer.from(reason)])
}
