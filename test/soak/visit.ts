import { setTimeout as sleep } from 'node:timers/promises'
import { BrokenResponseError, headerOf, RawClient, type RawResponse } from '../support/raw-client.ts'
import type { Front } from './front.ts'
import type { Fault, Tally } from './tally.ts'
import { type Abort, type Plan, type PlannedRequest, random } from './traffic.ts'
import { HUNG_AFTER, Watch } from './watch.ts'

const FAULTS: Record<Abort, Fault> = {
  head: 'client leaves in the middle of the head',
  body: 'client leaves in the middle of the body',
  wait: 'client leaves while it waits',
  answer: 'client leaves in the middle of the answer',
}

/** One connection of a client: asks, and judges what comes back. */
export class Visit {
  /** Whether more can be asked. */
  open = true
  readonly #front: Front
  readonly #tally: Tally
  readonly #life: number
  readonly #raw: RawClient
  readonly #watch: Watch

  constructor(front: Front, tally: Tally) {
    this.#front = front
    this.#tally = tally
    this.#life = front.life
    this.#raw = new RawClient(front.port)
    this.#watch = new Watch(this.#raw)
  }

  async play({ requests, abort, rate }: Plan): Promise<void> {
    this.#tally.requests += requests.length
    this.#raw.pace(rate ?? Number.POSITIVE_INFINITY)
    if (abort !== undefined) return await this.#leaveAmid(requests[0] as PlannedRequest, abort)
    if (rate !== undefined) this.#tally.slowReaders++
    const sending = this.#send(requests)
    await this.#readAnswers(requests)
    await sending
  }

  leave(): void {
    this.open = false
    this.#watch.end()
    this.#raw.destroy()
  }

  async #send(requests: readonly PlannedRequest[]): Promise<void> {
    for (const { head, pieces, pause } of requests) {
      this.#raw.send(head)
      for (const piece of pieces) {
        if (pause > 0) await sleep(pause)
        if (!this.open) return
        this.#raw.send(piece)
      }
    }
  }

  async #readAnswers(requests: readonly PlannedRequest[]): Promise<void> {
    for (const [at, request] of requests.entries()) {
      const response = await this.#raw.response().catch((error: unknown) => error)
      const left = requests.length - at
      if (!isResponse(response)) return this.#miss(request, response, left)
      this.#judge(request, response)
      if (!request.last && headerOf(response, 'connection') !== 'close') continue
      this.leave()
      if (left > 1) this.#problem('lost', request, 'the connection ended with this answer', left - 1)
      return
    }
  }

  /** Sends a request, or the beginning of it, and leaves before its answer is complete. */
  async #leaveAmid(request: PlannedRequest, abort: Abort): Promise<void> {
    const answer = this.#raw.response().catch((error: unknown) => error)
    if (abort === 'answer') await this.#readPart(request)
    else {
      this.#sendPart(request, abort)
      await sleep(random(0, 50))
    }
    const early = this.#raw.ended
    this.leave()
    const response = await answer
    if (isResponse(response)) return this.#judge(request, response)
    if (early) return this.#miss(request, response, 1)
    this.#tally.inject(FAULTS[abort])
    if (this.#isBeginning(request, response)) this.#tally.abandoned++
    else this.#problem('wrong', request, 'bytes that do not belong there')
  }

  #sendPart({ head, pieces }: PlannedRequest, abort: Abort): void {
    this.#raw.send(abort === 'head' ? head.slice(0, random(1, head.length - 1)) : head)
    if (abort !== 'body') return
    const whole = random(0, pieces.length - 1)
    for (const piece of pieces.slice(0, whole)) this.#raw.send(piece)
    const next = pieces[whole] as Uint8Array
    this.#raw.send(next.subarray(0, random(0, next.length - 1)))
  }

  async #readPart({ head, expected }: PlannedRequest): Promise<void> {
    const enough = this.#raw.bytesRead + random(1, expected.size)
    this.#raw.send(head)
    while (this.#raw.bytesRead < enough && !this.#raw.ended) await sleep(5)
    if (Math.random() < 0.5) return
    this.#raw.pause()
    await sleep(random(0, 500))
  }

  #judge(request: PlannedRequest, { status, body }: RawResponse): void {
    const { expected, size } = request
    if (status !== 200) return this.#problem('wrong', request, `status ${status}, ${body.toString('latin1', 0, 100)}`)
    if (body.length !== expected.size || !expected.beginsWith(body)) {
      return this.#problem('wrong', request, `${body.length} bytes, expected ${expected.size}, or others`)
    }
    this.#tally.right++
    this.#tally.bytesIn += size
    this.#tally.bytesOut += body.length
  }

  /** An answer did not come, or not to its end, and so those of the requests behind it. */
  #miss(request: PlannedRequest, error: unknown, requests: number): void {
    const { ended } = this.#raw
    this.leave()
    const over = this.#front.life !== this.#life
    const hung = this.#watch.hung || (over && this.#watch.silenceAt(this.#front.endedAt) > HUNG_AFTER)
    if (!ended) this.#problem('wrong', request, String(error), requests)
    else if (!this.#isBeginning(request, error))
      this.#problem('wrong', request, 'bytes that do not belong there', requests)
    else if (hung) this.#problem('hung', request, `nothing moved for ${HUNG_AFTER} ms`, requests)
    else if (over) this.#tally.cut += requests
    else this.#problem('lost', request, String(error), requests)
  }

  /** Whether what there is of an answer is right. */
  #isBeginning({ expected }: PlannedRequest, error: unknown): boolean {
    if (!(error instanceof BrokenResponseError) || error.head === undefined) return true
    this.#tally.bytesOut += error.body.length
    return error.head.status === 200 && expected.beginsWith(error.body)
  }

  #problem(kind: 'lost' | 'wrong' | 'hung', { name, head }: PlannedRequest, what: string, requests = 1): void {
    const { pacing, uploads } = this.#front.setup
    const line = head.slice(0, head.indexOf('\r\n'))
    this.#tally.problem(kind, `${requests} from ${name} on (${pacing}, ${uploads}; ${line}): ${what}`, requests)
  }
}

function isResponse(value: unknown): value is RawResponse {
  return !(value instanceof Error)
}
