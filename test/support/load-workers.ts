import { setTimeout as sleep } from 'node:timers/promises'
import { BrokenResponseError, RawClient, request } from './raw-client.ts'

/** Clients at once. */
export const CLIENTS = 64

/** What became of a request. */
export type Outcome = 'answered' | 'refused' | 'closed' | 'wrong' | 'hangs'

/** How load is made. */
export interface Load {
  /** Waits for a request, but no longer than one may take. */
  within<T>(request: Promise<T>): Promise<T | 'hangs'>
  /** Milliseconds that a client waits when its request was not answered: asked at once, those who refuse would have no time for anything else. */
  readonly pause?: number
}

/** What became of the requests of 64 clients for so many milliseconds, some on kept connections, some streamed, some stored. */
export async function loadWorkers(
  port: number,
  duration: number,
  { within, pause = 0 }: Load,
): Promise<Record<Outcome, number>> {
  const outcomes: Record<Outcome, number> = { answered: 0, refused: 0, closed: 0, wrong: 0, hangs: 0 }
  const until = performance.now() + duration
  const run = async (number: number) => {
    let client = new RawClient(port)
    for (let count = 0; performance.now() < until; count++) {
      const outcome = await within(ask(client, number, count))
      outcomes[outcome]++
      if (outcome === 'answered') continue
      client.destroy()
      if (pause > 0) await sleep(pause)
      client = new RawClient(port)
    }
    client.destroy()
  }
  await Promise.all(Array.from({ length: CLIENTS }, (_, number) => run(number)))
  return outcomes
}

async function ask(client: RawClient, number: number, count: number): Promise<Outcome> {
  const name = `/${number}-${count}`
  const body = Buffer.alloc(30_000, name)
  const kind = number % 4
  if (kind === 0) client.send(request('/echo', 'POST', 'Content-Length: 30000\r\n')).send(body)
  else if (kind === 1) client.send(request('/stream?count=3&ms=5'))
  else client.send(request(name))
  try {
    const response = await client.response()
    if (response.status === 502 || response.status === 503) return 'refused'
    const text = response.body.toString()
    const right =
      kind === 0 ? response.body.equals(body) : kind === 1 ? /^(\d+) 0\n\1 1\n\1 2\n$/.test(text) : text === name
    return right && response.status === 200 ? 'answered' : 'wrong'
  } catch (error) {
    if (error instanceof BrokenResponseError) return error.body.includes('HTTP/1.1') ? 'wrong' : 'closed'
    throw error
  }
}
