import { setTimeout as sleep } from 'node:timers/promises'
import { BrokenResponseError, RawClient } from './raw-client.ts'

/** Clients at once. */
const CLIENTS = 64
/** How long a request may take to end, in milliseconds. That is not how long it should: the machine may be busy. */
const HANGS = 15_000

/** What became of a request. */
type Outcome = 'answered' | 'refused' | 'closed' | 'wrong' | 'hangs'

/** What became of the requests of many clients for so many milliseconds, some on kept connections, some streamed, some stored. */
export async function loadWorkers(port: number, duration: number): Promise<Record<Outcome, number>> {
  const outcomes: Record<Outcome, number> = { answered: 0, refused: 0, closed: 0, wrong: 0, hangs: 0 }
  const until = performance.now() + duration
  const run = async (number: number) => {
    let client = new RawClient(port)
    for (let count = 0; performance.now() < until; count++) {
      const outcome = await Promise.race([ask(client, number, count), sleep(HANGS, 'hangs' as const, { ref: false })])
      outcomes[outcome]++
      if (outcome === 'answered') continue
      client.destroy()
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
  if (kind === 0) client.send(`POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 30000\r\n\r\n`).send(body)
  else if (kind === 1) client.send('GET /stream?count=3&ms=5 HTTP/1.1\r\nHost: localhost\r\n\r\n')
  else client.send(`GET ${name} HTTP/1.1\r\nHost: localhost\r\n\r\n`)
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
